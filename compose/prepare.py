"""Make the secrets that docker-compose.yml reads: `python3 compose/prepare.py [sinks] [stores]`. Python 3.9+, no more.

`.tickhouse/secrets.env` is the file of the native stack, made by the same code and never made again. From it follow
the files under `.tickhouse/compose/`: each image gets its own secrets, under the names it knows, and no others. With
`sinks` our own code is told where MongoDB, Elasticsearch and Cassandra are: a store it knows must hold every event.
With `stores` it is told where MinIO and HDFS are. LAKE_STORE says what the lake does with them, as for `tickhouse up`:
give the same each time, since lakeFS refuses to start on another block store than its repository's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import runpy
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
HOME = REPO / ".tickhouse"

# The values of Settings.lake_store.
LAKE_STORES = ("local", "minio", "hdfs")
MINIO_URL = "http://minio:21051"


def main() -> int:
    """Write every file and say where."""
    words = sys.argv[1:]
    lake_store = os.environ.get("LAKE_STORE", "local")
    if lake_store not in LAKE_STORES:
        sys.stderr.write(f"Expected LAKE_STORE to be one of {LAKE_STORES}, was {lake_store!r}.\n")
        return 2
    write_all(HOME, has_sinks="sinks" in words, has_stores="stores" in words, lake_store=lake_store)
    sys.stderr.write(f"Secrets are in {HOME}. Next: docker compose --profile core up -d --build\n")
    return 0


def write_all(home: Path, *, has_sinks: bool = False, has_stores: bool = False, lake_store: str = "local") -> None:
    """Write `secrets.env` where it is missing, and the files of the images; all with mode 0600.

    Args:
        home: The folder `.tickhouse`.
        has_sinks: Profile `sinks` is wanted.
        has_stores: Profile `stores` is wanted; any `lake_store` but `local` wants it, too.
        lake_store: One of `LAKE_STORES`.
    """
    home.mkdir(mode=0o711, exist_ok=True)
    # By path: importing the package would need the Python environment that a machine with Docker does without.
    secrets = runpy.run_path(str(REPO / "stack" / "engine" / "secrets.py"))
    secrets["ensure_secrets"](home / "secrets.env")
    folder = home / "compose"
    folder.mkdir(mode=0o700, exist_ok=True)
    known = secrets["read_secrets"](home / "secrets.env")
    for name, values in image_secrets(known).items():
        _write(folder / f"{name}.env", values)
    _write(folder / "blocks.env", block_store(known, lake_store))
    _write(folder / "sinks.env", sink_addresses(known) if has_sinks else {})
    _write(folder / "stores.env", store_addresses(lake_store) if has_stores or lake_store != "local" else {})
    realm = runpy.run_path(str(REPO / "stack" / "elasticsearch" / "realm.py"))
    users = {role: known[f"ELASTICSEARCH_{role.upper()}_PASSWORD"] for role in realm["FILE_ROLES"]}
    for name, text in realm["user_files"](users).items():
        _mount(folder / "elasticsearch" / name, text)
    _mount(folder / "connect" / "sinks.properties", "".join(f"{k}={v}\n" for k, v in connector_secrets(known).items()))


def image_secrets(secrets: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return each image's environment, by file name (pure: the same secrets give the same files)."""
    registry = _derived(secrets, "registry")
    database = f"airflow:{secrets['POSTGRES_AIRFLOW_PASSWORD']}@postgres:21030/airflow"
    return {
        "postgres": {"POSTGRES_PASSWORD": secrets["POSTGRES_SUPERUSER_PASSWORD"], "REGISTRY_PASSWORD": registry},
        "registry": {"APICURIO_DATASOURCE_PASSWORD": registry},
        "redis": {"REDIS_PASSWORD": secrets["REDIS_PASSWORD"], "REDISCLI_AUTH": secrets["REDIS_PASSWORD"]},
        "lakefs": {
            "LAKEFS_INSTALLATION_ACCESS_KEY_ID": secrets["LAKEFS_ACCESS_KEY_ID"],
            "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": secrets["LAKEFS_SECRET_ACCESS_KEY"],
            "LAKEFS_AUTH_ENCRYPT_SECRET_KEY": _derived(secrets, "lakefs"),
        },
        "lake-gate": {name: secrets[name] for name in ("LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY")},
        "minio": {name: secrets[name] for name in ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")},
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
    }


def block_store(secrets: dict[str, str], lake_store: str) -> dict[str, str]:
    """Return where lakeFS keeps the lake's blocks, as its settings (pure): its own volume, or MinIO."""
    if lake_store != "minio":
        return {"LAKEFS_BLOCKSTORE_TYPE": "local"}
    return {
        "LAKEFS_BLOCKSTORE_TYPE": "s3",
        "LAKEFS_BLOCKSTORE_S3_ENDPOINT": MINIO_URL,
        "LAKEFS_BLOCKSTORE_S3_FORCE_PATH_STYLE": "true",
        "LAKEFS_BLOCKSTORE_S3_DISCOVER_BUCKET_REGION": "false",
        # All goes through lakeFS, as with the stand-in: the host has no name for the address in a presigned URL.
        "LAKEFS_BLOCKSTORE_S3_DISABLE_PRE_SIGNED": "true",
        "LAKEFS_BLOCKSTORE_S3_CREDENTIALS_ACCESS_KEY_ID": secrets["MINIO_ROOT_USER"],
        "LAKEFS_BLOCKSTORE_S3_CREDENTIALS_SECRET_ACCESS_KEY": secrets["MINIO_ROOT_PASSWORD"],
    }


def store_addresses(lake_store: str) -> dict[str, str]:
    """Return the addresses of profile `stores` and what the lake does with them, as settings (pure)."""
    return {"LAKE_STORE": lake_store, "MINIO_URL": MINIO_URL, "HDFS_URL": "hdfs://hdfs-namenode:21053"}


def sink_addresses(secrets: dict[str, str]) -> dict[str, str]:
    """Return the addresses of the stores of profile `sinks`, as settings (pure)."""
    login = f"tickhouse:{_derived(secrets, 'mongodb')}"
    return {
        "MONGODB_URI": f"mongodb://{login}@mongodb:21008/?authSource=market",
        "ELASTICSEARCH_URL": "http://elasticsearch:21003",
        "CASSANDRA_CONTACT_POINTS": "cassandra:21005",
    }


def connector_secrets(secrets: dict[str, str]) -> dict[str, str]:
    """Return what connector files name as `${secrets:sinks.properties:<key>}` (pure)."""
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
    # Read by a container's own user, who is nobody here: open to all, in a folder that only we may enter.
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)


def _derived(secrets: dict[str, str], purpose: str) -> str:
    # Secrets that only the composed stack has: derived, since Settings refuses keys it does not know in secrets.env.
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
