"""One frozen settings object for every process.

Sources, strongest first: environment, `<home>/secrets.env` (generated at first start, mode 0600), defaults that
follow `stack/ports.yaml`. An address that comes from the environment is *external*: the service behind it is
probed, never started.
"""

from __future__ import annotations

import os
from functools import cache, cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import yaml
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tickhouse.errors import ConfigurationError

REPO = Path(__file__).resolve().parent.parent
PORTS_FILE = REPO / "stack" / "ports.yaml"

Origin = Literal["environment", "secrets file", "default"]

# Roles of the application database: one a job, each with a generated password.
DATABASE_ROLES = ("owner", "stream", "batch", "reader", "operator")

# Roles of Elasticsearch and Cassandra: `admin` makes tables and indices, `writer` is the connectors, `reader` the CLI.
SINK_ROLES = ("admin", "writer", "reader")
CASSANDRA_PORT = 9042


@cache
def ports() -> dict[str, int]:
    """Return service port by name, from `stack/ports.yaml` moved to `TICKHOUSE_PORT_BASE` when that is set."""
    document = yaml.safe_load(PORTS_FILE.read_text())
    base = int(os.environ.get("TICKHOUSE_PORT_BASE", document["base"]))
    return {name: base + offset for name, offset in document["offsets"].items()}


def home() -> Path:
    """Return the one folder that holds all data, logs, secrets and sockets of this stack."""
    return Path(os.environ.get("TICKHOUSE_HOME", REPO / ".tickhouse")).resolve()


def cache_dir() -> Path:
    """Return the folder outside the clone where downloads and builds are kept, keyed by version."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tickhouse"


def _local(name: str, scheme: str = "http", path: str = "") -> str:
    prefix = f"{scheme}://" if scheme else ""
    return f"{prefix}127.0.0.1:{ports()[name]}{path}"


class Settings(BaseSettings):
    """Addresses and credentials of the whole lakehouse; see `docs/reference/configuration.md`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_file_encoding="utf-8")

    kafka_bootstrap_servers: str = Field(default_factory=lambda: _local("kafka", scheme=""))
    schema_registry_url: str = Field(default_factory=lambda: _local("registry", path="/apis/ccompat/v7"))
    connect_url: str = Field(default_factory=lambda: _local("connect"))
    database_url: SecretStr = Field(default_factory=lambda: SecretStr(_local("postgres", "postgresql", "/tickhouse")))
    redis_url: SecretStr = Field(default_factory=lambda: SecretStr(_local("redis", "redis", "/0")))
    lakefs_endpoint: str = Field(default_factory=lambda: _local("lakefs"))
    lakefs_access_key_id: str = ""
    lakefs_secret_access_key: SecretStr = SecretStr("")
    lake_repository: str = "lake"
    lake_gate_url: str = Field(default_factory=lambda: _local("lake_gate"))
    lake_store: Literal["local", "minio", "hdfs"] = "local"
    lake_bucket: str = "lake-blocks"
    minio_url: str = Field(default_factory=lambda: _local("minio"))
    minio_root_user: SecretStr = SecretStr("")
    minio_root_password: SecretStr = SecretStr("")
    hdfs_url: str = Field(default_factory=lambda: _local("hdfs_namenode", "hdfs"))
    data_docs_url: str = Field(default_factory=lambda: _local("data_docs"))
    airflow_url: str = Field(default_factory=lambda: _local("airflow"))
    exchange_ws_url: str = Field(default_factory=lambda: _local("exchange", "ws"))
    exchange_rest_url: str = Field(default_factory=lambda: _local("exchange"))
    mongodb_uri: SecretStr = Field(default_factory=lambda: SecretStr(_local("mongodb", "mongodb", "/")))
    elasticsearch_url: SecretStr = Field(default_factory=lambda: SecretStr(_local("elasticsearch")))
    cassandra_contact_points: str = Field(default_factory=lambda: _local("cassandra", scheme=""))
    cassandra_datacenter: str = "datacenter1"

    postgres_superuser_password: SecretStr = SecretStr("")
    postgres_airflow_password: SecretStr = SecretStr("")
    postgres_owner_password: SecretStr = SecretStr("")
    postgres_stream_password: SecretStr = SecretStr("")
    postgres_batch_password: SecretStr = SecretStr("")
    postgres_reader_password: SecretStr = SecretStr("")
    postgres_operator_password: SecretStr = SecretStr("")
    redis_password: SecretStr = SecretStr("")
    airflow_admin_password: SecretStr = SecretStr("")
    airflow_viewer_password: SecretStr = SecretStr("")
    airflow_jwt_secret: SecretStr = SecretStr("")
    airflow_fernet_key: SecretStr = SecretStr("")
    elasticsearch_admin_password: SecretStr = SecretStr("")
    elasticsearch_writer_password: SecretStr = SecretStr("")
    elasticsearch_reader_password: SecretStr = SecretStr("")
    cassandra_admin_password: SecretStr = SecretStr("")
    cassandra_writer_password: SecretStr = SecretStr("")
    cassandra_reader_password: SecretStr = SecretStr("")

    @cached_property
    def home(self) -> Path:
        """Return the data folder of this stack."""
        return home()

    def database_dsn(self, role: str) -> str:
        """Return the PostgreSQL URL for one job's role.

        Args:
            role: One of `DATABASE_ROLES`. When `DATABASE_URL` carries a user it is used as it is, for every role.

        Raises:
            ConfigurationError: The role is unknown.
        """
        if role not in DATABASE_ROLES:
            raise ConfigurationError(f"Expected a database role of {DATABASE_ROLES}, was {role!r}.")
        password = getattr(self, f"postgres_{role}_password").get_secret_value()
        return _with_login(self.database_url.get_secret_value(), f"tickhouse_{role}", password)

    def redis_dsn(self) -> str:
        """Return the Redis URL with its password."""
        return _with_login(self.redis_url.get_secret_value(), "", self.redis_password.get_secret_value())

    def elasticsearch_login(self, role: str) -> tuple[str, str, str]:
        """Return address, user and password for one of `SINK_ROLES`; a login in `ELASTICSEARCH_URL` serves every role.

        Raises:
            ConfigurationError: The role is unknown.
        """
        parts = urlsplit(self.elasticsearch_url.get_secret_value())
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        if parts.username is not None:
            return address, unquote(parts.username), unquote(parts.password or "")
        return address, f"tickhouse_{_sink_role(role)}", self._password("elasticsearch", role)

    def cassandra_login(self, role: str) -> tuple[str, str]:
        """Return user and password of Cassandra for one of `SINK_ROLES`.

        Raises:
            ConfigurationError: The role is unknown.
        """
        return f"tickhouse_{_sink_role(role)}", self._password("cassandra", role)

    def cassandra_nodes(self) -> tuple[list[str], int]:
        """Return the hosts of `CASSANDRA_CONTACT_POINTS` and the port that all of them share."""
        points = [urlsplit(f"//{point.strip()}") for point in self.cassandra_contact_points.split(",")]
        return [point.hostname or "" for point in points], points[0].port or CASSANDRA_PORT

    def _password(self, store: str, role: str) -> str:
        return str(getattr(self, f"{store}_{role}_password").get_secret_value())

    def origin(self, field: str) -> Origin:
        """Return where a setting's value comes from."""
        if field.upper() in os.environ:
            return "environment"
        return "secrets file" if field in self.model_fields_set else "default"

    def is_external(self, field: str) -> bool:
        """Return whether the address in `field` was given from outside: such a service is probed, not started."""
        return self.origin(field) == "environment"


def _sink_role(role: str) -> str:
    if role not in SINK_ROLES:
        raise ConfigurationError(f"Expected a role of {SINK_ROLES}, was {role!r}.")
    return role


def _with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    if "@" in parts.netloc or not password:
        return url
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{quote(password)}@{parts.netloc}"))


def secrets_file() -> Path:
    """Return the path of the generated secrets (mode 0600)."""
    return home() / "secrets.env"


def load_settings() -> Settings:
    """Load the settings.

    Raises:
        ConfigurationError: A key is unknown or a value does not parse; the message names it.
    """
    try:
        return Settings(_env_file=secrets_file())
    except ValueError as error:
        raise ConfigurationError(
            f"The configuration does not load: {error}", next_command="tickhouse config show"
        ) from error
