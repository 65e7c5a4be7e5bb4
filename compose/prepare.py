"""Make the secrets that docker-compose.yml reads: `python3 compose/prepare.py [sinks] [stores]`.

It needs only Python 3.9 or later.

`.tickhouse/secrets.env` is the file of the native stack, made by the same code; existing secrets
never change. The files under `.tickhouse/compose/` are derived from it: each image gets only its
own secrets, under the names that it uses.

With `sinks`, our code gets the addresses of MongoDB, Elasticsearch and Cassandra; an enabled store
must hold every event. With `stores`, it gets those of MinIO, HDFS, Neo4j, Geode, RabbitMQ and
InfluxDB. The channels of notifications take their settings (NOTIFY_...) from this shell. As for
`tickhouse up`, LAKE_STORE says how the lake uses the first two. Give the same value each time:
lakeFS does not start on a block store other than that of its repository.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import runpy
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
HOME = REPO / ".tickhouse"

# The values of Settings.lake_store.
LAKE_STORES = ("local", "minio", "hdfs")
# What `compose/provision.py stores` needs: the key of the bucket, users of graph and queues, and
# the administrator of the series, whose other tokens are made by the server.
STORE_SECRETS = (
    *("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
    *("NEO4J_ADMIN_PASSWORD", "NEO4J_WRITER_PASSWORD", "NEO4J_READER_PASSWORD"),
    *("RABBITMQ_ADMIN_PASSWORD", "RABBITMQ_BRIDGE_PASSWORD", "RABBITMQ_WORKER_PASSWORD"),
    "RABBITMQ_OPERATOR_PASSWORD",
    *("INFLUXDB_ADMIN_PASSWORD", "INFLUXDB_ADMIN_TOKEN"),
)
# What the read API logs in with, and the keys of its clients.
API_SECRETS = (
    *("POSTGRES_API_PASSWORD", "REDIS_API_PASSWORD", "LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY"),
    *("NEO4J_READER_PASSWORD", "GEODE_READER_PASSWORD", "GEODE_EDITOR_PASSWORD"),
    *("API_READ_KEY", "API_RULES_KEY", "API_SESSION_SECRET"),
)
# What the collector of metrics reads with.
METRICS_SECRETS = (
    *("POSTGRES_READER_PASSWORD", "REDIS_PASSWORD", "LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY"),
    *("AIRFLOW_ADMIN_PASSWORD", "CONNECT_PASSWORD", "ELASTICSEARCH_READER_PASSWORD", "CASSANDRA_READER_PASSWORD"),
    *("NEO4J_READER_PASSWORD", "GEODE_READER_PASSWORD", "RABBITMQ_OPERATOR_PASSWORD"),
)
MINIO_URL = "http://minio:21051"
# The user of Connect's REST API, as in Settings.connect_login.
CONNECT_USER = "operator"


def main() -> int:
    """Write every file and print the folder."""
    words = sys.argv[1:]
    lake_store = os.environ.get("LAKE_STORE", "local")
    if lake_store not in LAKE_STORES:
        sys.stderr.write(f"Expected LAKE_STORE to be one of {LAKE_STORES}, was {lake_store!r}.\n")
        return 2
    write_all(HOME, has_sinks="sinks" in words, has_stores="stores" in words, lake_store=lake_store)
    sys.stderr.write(f"Secrets are in {HOME}. Next: docker compose --profile core up -d --build\n")
    return 0


def write_all(home: Path, *, has_sinks: bool = False, has_stores: bool = False, lake_store: str = "local") -> None:
    """Write `secrets.env` if it is missing, and the files of the images; all with mode 0600.

    Args:
        home: The folder `.tickhouse`.
        has_sinks: Profile `sinks` is used.
        has_stores: Profile `stores` is used; any `lake_store` other than `local` implies it.
        lake_store: One of `LAKE_STORES`.
    """
    home.mkdir(mode=0o711, exist_ok=True)
    # Loaded by path: importing the package would need our Python environment, which a machine with
    # Docker does not have.
    secrets = runpy.run_path(str(REPO / "stack" / "engine" / "secrets.py"))
    secrets["ensure_secrets"](home / "secrets.env")
    folder = home / "compose"
    folder.mkdir(mode=0o700, exist_ok=True)
    known = secrets["read_secrets"](home / "secrets.env")
    for name, values in image_secrets(known).items():
        _write(folder / f"{name}.env", values)
    _write(folder / "notify.env", {name: value for name, value in os.environ.items() if name.startswith("NOTIFY_")})
    _write(folder / "blocks.env", block_store(known, lake_store))
    _write(folder / "sinks.env", sink_addresses(known) if has_sinks else {})
    _write(folder / "stores.env", store_addresses(lake_store) if has_stores or lake_store != "local" else {})
    realm = runpy.run_path(str(REPO / "stack" / "elasticsearch" / "realm.py"))
    users = {role: known[f"ELASTICSEARCH_{role.upper()}_PASSWORD"] for role in realm["FILE_ROLES"] if role != "kibana"}
    users["kibana"] = _derived(known, "kibana")
    for name, text in realm["user_files"](users).items():
        _mount(folder / "elasticsearch" / name, text)
    _mount(folder / "connect" / "sinks.properties", "".join(f"{k}={v}\n" for k, v in connector_secrets(known).items()))
    _mount(folder / "geode" / "security.json", geode_users(known))
    _mount(folder / "alertmanager" / "token", known["ALERTMANAGER_TOKEN"])
    login = f"username={CONNECT_USER}\npassword={known['CONNECT_PASSWORD']}\n"
    _mount(folder / "connect-rest" / "rest.properties", login)
    fields = runpy.run_path(str(REPO / "stack" / "connect" / "secret_fields.py"))
    _mount(folder / "connect-rest" / "secret-fields.json", fields["document"](REPO / "connectors"))


def image_secrets(secrets: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the environment of each image by file name; the same secrets give the same files."""
    registry = _derived(secrets, "registry")
    reader = f"tickhouse_reader:{secrets['POSTGRES_READER_PASSWORD']}"
    database = f"airflow:{secrets['POSTGRES_AIRFLOW_PASSWORD']}@postgres:21030/airflow"
    return {
        "postgres": {"POSTGRES_PASSWORD": secrets["POSTGRES_SUPERUSER_PASSWORD"], "REGISTRY_PASSWORD": registry},
        "registry": {"APICURIO_DATASOURCE_PASSWORD": registry},
        "redis": {
            **{name: secrets[name] for name in ("REDIS_PASSWORD", "REDIS_API_PASSWORD")},
            "REDISCLI_AUTH": secrets["REDIS_PASSWORD"],
        },
        "lakefs": {
            "LAKEFS_INSTALLATION_ACCESS_KEY_ID": secrets["LAKEFS_ACCESS_KEY_ID"],
            "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": secrets["LAKEFS_SECRET_ACCESS_KEY"],
            "LAKEFS_AUTH_ENCRYPT_SECRET_KEY": _derived(secrets, "lakefs"),
        },
        "lake-gate": {name: secrets[name] for name in ("LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY")},
        "api": {name: secrets[name] for name in API_SECRETS},
        "minio": {name: secrets[name] for name in ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")},
        "neo4j": {"NEO4J_AUTH": f"neo4j/{secrets['NEO4J_ADMIN_PASSWORD']}"},
        "alert-watcher": {
            name: secrets[name] for name in ("POSTGRES_WATCHER_PASSWORD", "GEODE_READER_PASSWORD", "ALERTMANAGER_TOKEN")
        },
        "alert-states": {"GEODE_WRITER_PASSWORD": secrets["GEODE_WRITER_PASSWORD"]},
        "rabbitmq": {
            "RABBITMQ_DEFAULT_USER": "tickhouse_admin",
            "RABBITMQ_DEFAULT_PASS": secrets["RABBITMQ_ADMIN_PASSWORD"],
            "RABBITMQ_DEFAULT_VHOST": "tickhouse",
        },
        "alert-bridge": {"RABBITMQ_BRIDGE_PASSWORD": secrets["RABBITMQ_BRIDGE_PASSWORD"]},
        "notification-worker": {
            name: secrets[name]
            for name in ("RABBITMQ_WORKER_PASSWORD", "POSTGRES_NOTIFIER_PASSWORD", "NOTIFY_WEBHOOK_SECRET")
        },
        # The server of Kibana; people log in as tickhouse_admin or tickhouse_reader.
        "kibana": {
            "ELASTICSEARCH_USERNAME": "tickhouse_kibana",
            "ELASTICSEARCH_PASSWORD": _derived(secrets, "kibana"),
            "XPACK_ENCRYPTEDSAVEDOBJECTS_ENCRYPTIONKEY": _derived(secrets, "kibana objects"),
        },
        "logstash": {
            "ELASTICSEARCH_USERNAME": "tickhouse_writer",
            "ELASTICSEARCH_PASSWORD": secrets["ELASTICSEARCH_WRITER_PASSWORD"],
        },
        "provision-logs": {"ELASTICSEARCH_ADMIN_PASSWORD": secrets["ELASTICSEARCH_ADMIN_PASSWORD"]},
        "provision-stores": {name: secrets[name] for name in STORE_SECRETS},
        "store-metrics": {name: secrets[name] for name in METRICS_SECRETS},
        "postgres-exporter": {"DATA_SOURCE_NAME": f"postgresql://{reader}@postgres:21030/tickhouse?sslmode=disable"},
        "redis-exporter": {"REDIS_PASSWORD": secrets["REDIS_PASSWORD"]},
        "mongodb": {
            "MONGO_INITDB_ROOT_USERNAME": "root",
            "MONGO_INITDB_ROOT_PASSWORD": _derived(secrets, "mongodb root"),
            "TICKHOUSE_PASSWORD": _derived(secrets, "mongodb"),
        },
        "airflow": {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CORE__FERNET_KEY": secrets["AIRFLOW_FERNET_KEY"],
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets["AIRFLOW_JWT_SECRET"],
        },
        # Dashboards (compose/boards.py, compose/metabase); people use the two admin passwords.
        "grafana": {
            "GF_SECURITY_ADMIN_PASSWORD": _derived(secrets, "grafana admin"),
            "POSTGRES_READER_PASSWORD": secrets["POSTGRES_READER_PASSWORD"],
        },
        "boards-prepare": {
            "POSTGRES_SUPERUSER_PASSWORD": secrets["POSTGRES_SUPERUSER_PASSWORD"],
            "METABASE_DATABASE_PASSWORD": _derived(secrets, "metabase database"),
        },
        "metabase": {
            "MB_DB_PASS": _derived(secrets, "metabase database"),
            "MB_ENCRYPTION_SECRET_KEY": _derived(secrets, "metabase encryption"),
        },
        "metabase-setup": {
            "METABASE_ADMIN_PASSWORD": _derived(secrets, "metabase admin"),
            "POSTGRES_READER_PASSWORD": secrets["POSTGRES_READER_PASSWORD"],
        },
        # It asks the API for the state of runs that other runs wait for.
        "airflow-triggerer": {"AIRFLOW_ADMIN_PASSWORD": secrets["AIRFLOW_ADMIN_PASSWORD"]},
    }


def block_store(secrets: dict[str, str], lake_store: str) -> dict[str, str]:
    """Return lakeFS's settings for its block store: its own volume, or MinIO."""
    if lake_store != "minio":
        return {"LAKEFS_BLOCKSTORE_TYPE": "local"}
    return {
        "LAKEFS_BLOCKSTORE_TYPE": "s3",
        "LAKEFS_BLOCKSTORE_S3_ENDPOINT": MINIO_URL,
        "LAKEFS_BLOCKSTORE_S3_FORCE_PATH_STYLE": "true",
        "LAKEFS_BLOCKSTORE_S3_DISCOVER_BUCKET_REGION": "false",
        # As with the stand-in, all data goes through lakeFS: the address in a presigned URL has no
        # meaning on the host.
        "LAKEFS_BLOCKSTORE_S3_DISABLE_PRE_SIGNED": "true",
        "LAKEFS_BLOCKSTORE_S3_CREDENTIALS_ACCESS_KEY_ID": secrets["MINIO_ROOT_USER"],
        "LAKEFS_BLOCKSTORE_S3_CREDENTIALS_SECRET_ACCESS_KEY": secrets["MINIO_ROOT_PASSWORD"],
    }


def store_addresses(lake_store: str) -> dict[str, str]:
    """Return the settings of profile `stores`: the addresses, and how the lake uses them."""
    return {
        "LAKE_STORE": lake_store,
        "MINIO_URL": MINIO_URL,
        "HDFS_URL": "hdfs://hdfs-namenode:21053",
        "NEO4J_URL": "bolt://neo4j:21043",
        "GEODE_URL": "http://geode:21048",
        "RABBITMQ_URL": "amqp://rabbitmq:21041/tickhouse",
        "RABBITMQ_MANAGEMENT_URL": "http://rabbitmq:21042",
        "INFLUXDB_URL": "http://influxdb:21047",
    }


def geode_users(secrets: dict[str, str]) -> str:
    """Return Geode's file of users and rights: the template of the native node, filled in."""
    template = (REPO / "stack" / "geode" / "security.json.j2").read_text()
    return re.sub(r"\{\{ secret\('(\w+)'\) \}\}", lambda found: secrets[found[1].upper()], template)


def sink_addresses(secrets: dict[str, str]) -> dict[str, str]:
    """Return the settings of profile `sinks`: the addresses of its stores."""
    login = f"tickhouse:{_derived(secrets, 'mongodb')}"
    return {
        "MONGODB_URI": f"mongodb://{login}@mongodb:21008/?authSource=market",
        "ELASTICSEARCH_URL": "http://elasticsearch:21003",
        "CASSANDRA_CONTACT_POINTS": "cassandra:21005",
    }


def connector_secrets(secrets: dict[str, str]) -> dict[str, str]:
    """Return the values that connector files name as `${secrets:sinks.properties:<key>}`."""
    addresses = sink_addresses(secrets)
    return {
        "registry.url": "http://registry:21010/apis/registry/v2",
        "mongodb.uri": addresses["MONGODB_URI"],
        "elasticsearch.url": addresses["ELASTICSEARCH_URL"],
        "elasticsearch.username": "tickhouse_writer",
        "elasticsearch.password": secrets["ELASTICSEARCH_WRITER_PASSWORD"],
        "cassandra.hosts": "cassandra",
        "cassandra.port": "21005",
        "cassandra.datacenter": "datacenter1",
        "cassandra.username": "tickhouse_writer",
        "cassandra.password": secrets["CASSANDRA_WRITER_PASSWORD"],
    }


def _mount(path: Path, text: str) -> None:
    # The user of a container, who is unknown here, reads the file. So everybody may read it, but
    # only we may enter its folder.
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)


def _derived(secrets: dict[str, str], purpose: str) -> str:
    # Secrets that only docker compose needs are derived, because Settings refuses unknown keys in
    # secrets.env.
    key = secrets["POSTGRES_SUPERUSER_PASSWORD"].encode()
    return hmac.new(key, f"compose {purpose}".encode(), hashlib.sha256).hexdigest()


def _write(path: Path, values: dict[str, str]) -> None:
    partial = path.with_name(path.name + ".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
