"""One frozen settings object for every process.

Sources, in order of precedence: the environment, `<home>/secrets.env` (generated at the first
start, mode 0600), defaults with the ports of `stack/ports.yaml`. A service whose address comes from
the environment is *external*: it is probed, never started.
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

from common.errors import ConfigurationError

REPO = Path(__file__).resolve().parent.parent
PORTS_FILE = REPO / "stack" / "ports.yaml"

# Memory of the servers: `normal`, or `light` for a laptop. Read by `tickhouse up`.
SIZE = "TICKHOUSE_SIZE"

SettingOrigin = Literal["environment", "secrets file", "default"]

# Roles of the application database: one per job, each with a generated password.
DATABASE_ROLES = ("owner", "stream", "batch", "reader", "operator", "watcher", "notifier", "api")

# Roles of Elasticsearch, Cassandra and Neo4j: `admin` creates tables, indices and users; the
# connectors and the synchronization of the graph use `writer`, the CLI uses `reader`.
SINK_ROLES = ("admin", "writer", "reader")
CASSANDRA_PORT = 9042

# Roles of Geode: the stream is `writer`, the CLI and the API read as `reader`, and the API edits
# rules of alerts as `editor`.
GEODE_ROLES = ("admin", "writer", "reader", "editor")
# Roles of RabbitMQ: `admin` makes exchanges, queues and users; `bridge` puts notifications in;
# `worker` takes them out; `operator` is for the CLI.
RABBITMQ_ROLES = ("admin", "bridge", "worker", "operator")

# The one user of Connect's REST API.
CONNECT_USER = "operator"


@cache
def ports() -> dict[str, int]:
    """Return the port of each service, by name.

    Ports are the offsets of `stack/ports.yaml`, added to `TICKHOUSE_PORT_BASE` when that is set.
    """
    document = yaml.safe_load(PORTS_FILE.read_text())
    base = int(os.environ.get("TICKHOUSE_PORT_BASE", document["base"]))
    return {name: base + offset for name, offset in document["offsets"].items()}


def home() -> Path:
    """Return the folder with all data, logs, secrets and sockets of this stack."""
    return Path(os.environ.get("TICKHOUSE_HOME", REPO / ".tickhouse")).resolve()


def is_light() -> bool:
    """Return whether `TICKHOUSE_SIZE` asks for servers with little memory.

    Raises:
        ConfigurationError: It is neither `normal` nor `light`.
    """
    size = os.environ.get(SIZE, "normal")
    if size not in ("normal", "light"):
        raise ConfigurationError(f"Expected {SIZE} to be normal or light, was {size!r}.")
    return size == "light"


def cache_dir() -> Path:
    """Return the folder outside the clone for downloads and builds, by version."""
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
    connect_url: SecretStr = Field(default_factory=lambda: SecretStr(_local("connect")))
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
    exchange_ws_routes: str = ""
    exchange_rest_url: str = Field(default_factory=lambda: _local("exchange"))
    audit_klines_urls: str = ""
    mongodb_uri: SecretStr = Field(default_factory=lambda: SecretStr(_local("mongodb", "mongodb", "/")))
    elasticsearch_url: SecretStr = Field(default_factory=lambda: SecretStr(_local("elasticsearch")))
    cassandra_contact_points: str = Field(default_factory=lambda: _local("cassandra", scheme=""))
    cassandra_datacenter: str = "datacenter1"
    neo4j_url: SecretStr = Field(default_factory=lambda: SecretStr(_local("neo4j", "bolt")))
    geode_url: SecretStr = Field(default_factory=lambda: SecretStr(_local("geode")))
    rabbitmq_url: SecretStr = Field(default_factory=lambda: SecretStr(_local("rabbitmq", "amqp", "/tickhouse")))
    rabbitmq_management_url: str = Field(default_factory=lambda: _local("rabbitmq_management"))
    # Alerts (tickhouse.alerts) and the channels of their notifications (tickhouse.notifications).
    alert_rules_file: str = ""
    # Where producer, watcher, bridge and worker serve their metrics; Compose needs another address.
    metrics_host: str = "127.0.0.1"
    notify_max_age_h: int = Field(default=24, gt=0)
    notify_webhook_url: SecretStr = SecretStr("")
    notify_smtp_host: str = ""
    notify_smtp_port: int = Field(default=587, gt=0)
    notify_smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    notify_smtp_user: str = ""
    notify_smtp_password: SecretStr = SecretStr("")
    notify_email_from: str = "tickhouse@localhost"
    notify_email_to: str = ""
    api_url: str = Field(default_factory=lambda: _local("api"))
    api_hosts: str = ""
    api_requests_per_s: int = Field(default=1000, gt=0)
    # Folders besides `<home>/archives` whose files DAG `backfill` may replay, separated by colons.
    archive_folders: str = ""
    # Where lineage events are posted as well, such as a Marquez server; empty: only to files.
    lineage_url: str = ""
    influxdb_url: str = Field(default_factory=lambda: _local("influxdb"))
    influxdb_org: str = "tickhouse"
    prometheus_url: str = Field(default_factory=lambda: _local("prometheus"))
    # Limits of one replayed file (producer.parsing.archives.Limits); a larger file is refused.
    replay_max_ratio: int = Field(default=200, gt=0)
    replay_max_unpacked_bytes: int = Field(default=1 << 36, gt=0)
    replay_max_lines: int = Field(default=1_000_000_000, gt=0)
    replay_max_line_bytes: int = Field(default=1 << 24, gt=0)
    replay_max_document_bytes: int = Field(default=1 << 26, gt=0)

    postgres_superuser_password: SecretStr = SecretStr("")
    postgres_airflow_password: SecretStr = SecretStr("")
    postgres_owner_password: SecretStr = SecretStr("")
    postgres_stream_password: SecretStr = SecretStr("")
    postgres_batch_password: SecretStr = SecretStr("")
    postgres_reader_password: SecretStr = SecretStr("")
    postgres_operator_password: SecretStr = SecretStr("")
    postgres_watcher_password: SecretStr = SecretStr("")
    postgres_notifier_password: SecretStr = SecretStr("")
    postgres_api_password: SecretStr = SecretStr("")
    redis_password: SecretStr = SecretStr("")
    redis_api_password: SecretStr = SecretStr("")
    connect_password: SecretStr = SecretStr("")
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
    neo4j_admin_password: SecretStr = SecretStr("")
    neo4j_writer_password: SecretStr = SecretStr("")
    neo4j_reader_password: SecretStr = SecretStr("")
    geode_admin_password: SecretStr = SecretStr("")
    geode_writer_password: SecretStr = SecretStr("")
    geode_reader_password: SecretStr = SecretStr("")
    geode_editor_password: SecretStr = SecretStr("")
    rabbitmq_admin_password: SecretStr = SecretStr("")
    rabbitmq_bridge_password: SecretStr = SecretStr("")
    rabbitmq_worker_password: SecretStr = SecretStr("")
    rabbitmq_operator_password: SecretStr = SecretStr("")
    notify_webhook_secret: SecretStr = SecretStr("")
    alertmanager_token: SecretStr = SecretStr("")
    api_read_key: SecretStr = SecretStr("")
    api_rules_key: SecretStr = SecretStr("")
    api_session_secret: SecretStr = SecretStr("")
    influxdb_admin_password: SecretStr = SecretStr("")
    influxdb_admin_token: SecretStr = SecretStr("")
    # Generated by the server itself; when empty, read from `common.clients.influxdb.tokens_file`.
    influxdb_writer_token: SecretStr = SecretStr("")
    influxdb_reader_token: SecretStr = SecretStr("")

    @cached_property
    def home(self) -> Path:
        """Return the data folder of this stack."""
        return home()

    def database_dsn(self, role: str) -> str:
        """Return the PostgreSQL URL of a role.

        Args:
            role: One of `DATABASE_ROLES`. When `DATABASE_URL` has a user, it is returned unchanged
                for every role.

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

    def redis_api_dsn(self) -> str:
        """Return the Redis URL of the read API's user; a login in `REDIS_URL` takes precedence."""
        return _with_login(
            self.redis_url.get_secret_value(), "tickhouse_api", self.redis_api_password.get_secret_value()
        )

    def connect_login(self) -> tuple[str, str, str]:
        """Return (address, user, password) of Connect's REST API.

        A login in `CONNECT_URL` takes precedence.
        """
        parts = urlsplit(self.connect_url.get_secret_value())
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        if parts.username is not None:
            return address, unquote(parts.username), unquote(parts.password or "")
        return address, CONNECT_USER, self.connect_password.get_secret_value()

    def elasticsearch_login(self, role: str) -> tuple[str, str, str]:
        """Return (address, user, password) of a role.

        A login in `ELASTICSEARCH_URL` takes precedence.
        Raises:
            ConfigurationError: The role is unknown.
        """
        parts = urlsplit(self.elasticsearch_url.get_secret_value())
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        if parts.username is not None:
            return address, unquote(parts.username), unquote(parts.password or "")
        return address, f"tickhouse_{_sink_role(role)}", self._password("elasticsearch", role)

    def neo4j_login(self, role: str) -> tuple[str, str, str]:
        """Return (address, user, password) of a role; a login in `NEO4J_URL` takes precedence.

        The administrator has the name that the server gives it.

        Raises:
            ConfigurationError: The role is unknown.
        """
        parts = urlsplit(self.neo4j_url.get_secret_value())
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        if parts.username is not None:
            return address, unquote(parts.username), unquote(parts.password or "")
        user = "neo4j" if role == "admin" else f"tickhouse_{_sink_role(role)}"
        return address, user, self._password("neo4j", role)

    def geode_login(self, role: str) -> tuple[str, str, str]:
        """Return (address, user, password) of one of `GEODE_ROLES`.

        A login in `GEODE_URL` takes precedence.

        Raises:
            ConfigurationError: The role is unknown.
        """
        if role not in GEODE_ROLES:
            raise ConfigurationError(f"Expected a role of {GEODE_ROLES}, was {role!r}.")
        parts = urlsplit(self.geode_url.get_secret_value())
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        if parts.username is not None:
            return address, unquote(parts.username), unquote(parts.password or "")
        return address, f"tickhouse_{role}", self._password("geode", role)

    def rabbitmq_login(self, role: str) -> tuple[str, str]:
        """Return (user, password) of a role; a login in `RABBITMQ_URL` takes precedence.

        Raises:
            ConfigurationError: The role is unknown.
        """
        if role not in RABBITMQ_ROLES:
            raise ConfigurationError(f"Expected a role of {RABBITMQ_ROLES}, was {role!r}.")
        parts = urlsplit(self.rabbitmq_url.get_secret_value())
        if parts.username is not None:
            return unquote(parts.username), unquote(parts.password or "")
        return f"tickhouse_{role}", self._password("rabbitmq", role)

    def rabbitmq_dsn(self, role: str) -> str:
        """Return the AMQP URL of a role, with its login.

        Raises:
            ConfigurationError: The role is unknown.
        """
        user, password = self.rabbitmq_login(role)
        return _with_login(self.rabbitmq_url.get_secret_value(), user, password)

    def cassandra_login(self, role: str) -> tuple[str, str]:
        """Return user and password of Cassandra for one of `SINK_ROLES`.

        Raises:
            ConfigurationError: The role is unknown.
        """
        return f"tickhouse_{_sink_role(role)}", self._password("cassandra", role)

    def cassandra_nodes(self) -> tuple[list[str], int]:
        """Return the hosts of `CASSANDRA_CONTACT_POINTS` and their common port."""
        points = [urlsplit(f"//{point.strip()}") for point in self.cassandra_contact_points.split(",")]
        return [point.hostname or "" for point in points], points[0].port or CASSANDRA_PORT

    def _password(self, store: str, role: str) -> str:
        return str(getattr(self, f"{store}_{role}_password").get_secret_value())

    def origin(self, field: str) -> SettingOrigin:
        """Return where a setting's value comes from."""
        if field.upper() in os.environ:
            return "environment"
        return "secrets file" if field in self.model_fields_set else "default"

    def is_external(self, field: str) -> bool:
        """Return whether an address comes from the environment; its service is never started."""
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
        ConfigurationError: A key is unknown, or a value does not parse; the message names it.
    """
    try:
        return Settings(_env_file=secrets_file())
    except ValueError as error:
        raise ConfigurationError(
            f"The configuration does not load: {error}", next_command="tickhouse config show"
        ) from error
