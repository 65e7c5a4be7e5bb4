from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest
import yaml

from common.settings import PORTS_FILE, REPO, Settings, load_settings
from compose import health
from compose.prepare import (
    LAKE_STORES,
    block_store,
    connector_secrets,
    image_secrets,
    main,
    sink_addresses,
    store_addresses,
    write_all,
)
from compose.provision import core_hooks, prepare_folders, profile_hooks, storage_namespace
from stack.engine.context import ServiceContext
from stack.engine.lifecycle import catalog
from stack.engine.secrets import GENERATORS, read_secrets

SECRETS = {name: f"value-of-{name}" for name in GENERATORS}


def test_every_file_that_compose_reads_is_written(tmp_path: Path, services: dict[str, dict[str, list[str]]]) -> None:
    write_all(tmp_path)

    wanted = {name for one in services.values() for name in one.get("env_file", [])}
    written = {f".tickhouse/{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*.env")}
    assert written == wanted


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    write_all(tmp_path)

    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.env")} == {0o600}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    write_all(tmp_path)
    before = {path: path.read_text() for path in tmp_path.rglob("*.env")}
    write_all(tmp_path)

    assert {path: path.read_text() for path in tmp_path.rglob("*.env")} == before


def test_passwords_are_those_of_the_native_stack(tmp_path: Path) -> None:
    write_all(tmp_path)
    shared = read_secrets(tmp_path / "secrets.env")

    assert set(shared) == set(GENERATORS)
    assert (
        read_secrets(tmp_path / "compose" / "postgres.env")["POSTGRES_PASSWORD"]
        == shared["POSTGRES_SUPERUSER_PASSWORD"]
    )


def test_each_image_gets_its_own_secrets_and_no_others() -> None:
    files = image_secrets(SECRETS)
    found = {
        name: {secret for secret, value in SECRETS.items() if any(value in one for one in values.values())}
        for name, values in files.items()
    }

    assert found == {
        "postgres": {"POSTGRES_SUPERUSER_PASSWORD"},
        "registry": set(),
        "kibana": set(),
        "logstash": {"ELASTICSEARCH_WRITER_PASSWORD"},
        "provision-logs": {"ELASTICSEARCH_ADMIN_PASSWORD"},
        "redis": {"REDIS_PASSWORD", "REDIS_API_PASSWORD"},
        "lakefs": {"LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY"},
        "lake-gate": {"LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY"},
        "api": {
            *("POSTGRES_API_PASSWORD", "REDIS_API_PASSWORD", "LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY"),
            *("NEO4J_READER_PASSWORD", "GEODE_READER_PASSWORD", "GEODE_EDITOR_PASSWORD"),
            *("API_READ_KEY", "API_RULES_KEY", "API_SESSION_SECRET"),
        },
        "minio": {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"},
        "neo4j": {"NEO4J_ADMIN_PASSWORD"},
        "provision-stores": {
            *("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
            *("NEO4J_ADMIN_PASSWORD", "NEO4J_WRITER_PASSWORD", "NEO4J_READER_PASSWORD"),
            *("RABBITMQ_ADMIN_PASSWORD", "RABBITMQ_BRIDGE_PASSWORD", "RABBITMQ_WORKER_PASSWORD"),
            "RABBITMQ_OPERATOR_PASSWORD",
            *("INFLUXDB_ADMIN_PASSWORD", "INFLUXDB_ADMIN_TOKEN"),
        },
        "alert-watcher": {"POSTGRES_WATCHER_PASSWORD", "GEODE_READER_PASSWORD", "ALERTMANAGER_TOKEN"},
        "alert-states": {"GEODE_WRITER_PASSWORD"},
        "rabbitmq": {"RABBITMQ_ADMIN_PASSWORD"},
        "alert-bridge": {"RABBITMQ_BRIDGE_PASSWORD"},
        "notification-worker": {"RABBITMQ_WORKER_PASSWORD", "POSTGRES_NOTIFIER_PASSWORD", "NOTIFY_WEBHOOK_SECRET"},
        "store-metrics": {
            *("POSTGRES_READER_PASSWORD", "REDIS_PASSWORD", "LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY"),
            *("AIRFLOW_ADMIN_PASSWORD", "CONNECT_PASSWORD", "RABBITMQ_OPERATOR_PASSWORD"),
            *(f"{store}_READER_PASSWORD" for store in ("ELASTICSEARCH", "CASSANDRA", "NEO4J", "GEODE")),
        },
        "postgres-exporter": {"POSTGRES_READER_PASSWORD"},
        "redis-exporter": {"REDIS_PASSWORD"},
        "mongodb": set(),
        "grafana": {"POSTGRES_READER_PASSWORD"},
        "boards-prepare": {"POSTGRES_SUPERUSER_PASSWORD"},
        "metabase": set(),
        "metabase-setup": {"POSTGRES_READER_PASSWORD"},
        "airflow": {"POSTGRES_AIRFLOW_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET"},
        "airflow-triggerer": {"AIRFLOW_ADMIN_PASSWORD"},
    }
    assert files["metabase"]["MB_DB_PASS"] == files["boards-prepare"]["METABASE_DATABASE_PASSWORD"]
    assert files["registry"]["APICURIO_DATASOURCE_PASSWORD"] == files["postgres"]["REGISTRY_PASSWORD"]
    assert files["registry"]["APICURIO_DATASOURCE_PASSWORD"] != files["lakefs"]["LAKEFS_AUTH_ENCRYPT_SECRET_KEY"]


def test_prepare_needs_the_standard_library_only() -> None:
    # -S: no site-packages, as on a machine with Docker only.
    code = "import runpy; runpy.run_path('compose/prepare.py'); runpy.run_path('stack/engine/secrets.py')"

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_provision_runs_the_hooks_of_the_native_stack() -> None:
    assert core_hooks(catalog()) == {
        "postgres": ("stack.postgres.setup:create_roles_and_databases", "stack.postgres.setup:migrate"),
        "kafka": ("stack.kafka.setup:create_topics",),
        "registry": ("stack.registry.setup:register_schemas",),
        "lakefs": ("stack.lakefs.setup:create_repository",),
        "lake_gate": ("stack.lakefs.setup:protect_main",),
        "airflow": ("stack.airflow.setup:migrate",),
        "data_docs": ("stack.data_docs.setup:make_site",),
    }


def test_no_provision_hook_of_the_native_stack_is_missing() -> None:
    everything = {**core_hooks(catalog()), **profile_hooks("sinks", catalog()), **profile_hooks("stores", catalog())}
    composed = {step for steps in everything.values() for step in steps}
    setups = [service.setup for service in catalog().values()]
    native = {step for setup in setups for step in (*setup.after_ready, *setup.provision)}

    # compose/prepare.py writes the file that Connect's guard reads.
    assert native - composed == {"stack.connect.setup:declare_secret_fields"}


@pytest.mark.parametrize("subject", ["http://127.0.0.1:9/ping", "scheduler"])
def test_a_service_that_does_not_respond_is_not_healthy(subject: str) -> None:
    assert not health.is_healthy(subject, "http://127.0.0.1:9")


def test_provision_writes_airflows_logins_for_the_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_ADMIN_PASSWORD", "for-admin")
    monkeypatch.setenv("AIRFLOW_VIEWER_PASSWORD", "for-analyst")

    prepare_folders(ServiceContext(catalog()["airflow"], load_settings()))

    logins = tmp_path / "conf" / "airflow" / "passwords.json"
    assert json.loads(logins.read_text()) == {"admin": "for-admin", "analyst": "for-analyst"}
    assert stat.S_IMODE(logins.stat().st_mode) == 0o600


def test_provision_renders_no_file_of_a_server_that_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))

    prepare_folders(ServiceContext(catalog()["kafka"], load_settings()))

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_logins_are_where_the_composed_airflow_looks(document: dict[str, dict[str, str]]) -> None:
    native = catalog()["airflow"].files[0].target
    home = str(document["x-our-image"]["volumes"][0]).partition(":")[2]

    composed = document["x-airflow-environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    assert composed == native.replace("{{ conf }}", f"{home}/conf/airflow")


def test_connectors_find_every_secret_they_name(tmp_path: Path) -> None:
    import re

    named = {
        key
        for path in (REPO / "connectors").glob("*.json")
        for key in re.findall(r"\$\{secrets:sinks\.properties:([\w.]+)\}", path.read_text())
    }
    native = re.findall(r"^([\w.]+)=", (REPO / "stack" / "connect" / "sinks.properties.j2").read_text(), re.MULTILINE)

    assert named
    assert named == set(connector_secrets(SECRETS)) == set(native)


def test_our_code_gets_the_sinks_only_when_they_are_used(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert read_secrets(tmp_path / "compose" / "sinks.env") == {}

    write_all(tmp_path, has_sinks=True)
    known = read_secrets(tmp_path / "secrets.env")
    assert read_secrets(tmp_path / "compose" / "sinks.env") == sink_addresses(known)
    assert "tickhouse_writer" in (tmp_path / "compose" / "connect" / "sinks.properties").read_text()


def test_users_of_the_file_realm_are_hashed(tmp_path: Path) -> None:
    write_all(tmp_path)
    users = (tmp_path / "compose" / "elasticsearch" / "users").read_text()

    assert [line.split(":")[0] for line in users.splitlines()] == [
        f"tickhouse_{r}" for r in ("admin", "writer", "reader", "kibana")
    ]
    assert read_secrets(tmp_path / "secrets.env")["ELASTICSEARCH_WRITER_PASSWORD"] not in users
    assert stat.S_IMODE((tmp_path / "compose").stat().st_mode) == 0o700


def test_provision_makes_what_the_stores_need() -> None:
    assert profile_hooks("stores", catalog()) == {
        "minio": ("stack.minio.setup:create_bucket",),
        "hdfs": (),
        "neo4j": ("stack.neo4j.setup:create_users",),
        "geode": (),
        "rabbitmq": ("stack.rabbitmq.setup:create_users", "stack.rabbitmq.setup:declare_queues"),
        "notifications": (),
        "influxdb": ("stack.influxdb.setup:create_admin", "stack.influxdb.setup:provision"),
    }


def test_our_code_gets_the_stores_only_when_they_are_used(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert read_secrets(tmp_path / "compose" / "stores.env") == {}

    write_all(tmp_path, has_stores=True)
    assert read_secrets(tmp_path / "compose" / "stores.env") == store_addresses("local")


@pytest.mark.parametrize("lake_store", LAKE_STORES)
def test_the_lake_has_the_same_block_store_everywhere(
    tmp_path: Path, lake_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all(tmp_path, lake_store=lake_store)
    for name, value in read_secrets(tmp_path / "compose" / "stores.env").items():
        monkeypatch.setenv(name, value)
    blocks = read_secrets(tmp_path / "compose" / "blocks.env")
    settings = load_settings()

    assert settings.lake_store == lake_store
    assert storage_namespace(settings).partition("://")[0] == blocks["LAKEFS_BLOCKSTORE_TYPE"]
    if lake_store == "minio":
        assert blocks["LAKEFS_BLOCKSTORE_S3_ENDPOINT"] == settings.minio_url
        assert urlsplit(storage_namespace(settings)).netloc == settings.lake_bucket


def test_prepare_knows_the_lake_stores_of_the_native_stack() -> None:
    assert get_args(Settings.model_fields["lake_store"].annotation) == LAKE_STORES


def test_an_unknown_lake_store_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LAKE_STORE", "s3")

    assert main() == 2
    assert "('local', 'minio', 'hdfs'), was 's3'" in capsys.readouterr().err


def test_lakefs_gets_minios_keys_only_when_its_blocks_are_there() -> None:
    keys = {SECRETS["MINIO_ROOT_USER"], SECRETS["MINIO_ROOT_PASSWORD"]}

    assert keys <= set(block_store(SECRETS, "minio").values())
    assert not keys & {*block_store(SECRETS, "local").values(), *block_store(SECRETS, "hdfs").values()}


def test_addresses_of_the_stores_lead_to_services_on_their_ports(services: dict[str, dict[str, list[str]]]) -> None:
    addresses = {name: urlsplit(value) for name, value in store_addresses("minio").items() if name != "LAKE_STORE"}
    known = yaml.safe_load(PORTS_FILE.read_text())  # the declared ports, not those of this session's stack

    assert {name: (one.port or 0) - known["base"] for name, one in addresses.items()} == {
        "MINIO_URL": known["offsets"]["minio"],
        "HDFS_URL": known["offsets"]["hdfs_namenode"],
        "NEO4J_URL": known["offsets"]["neo4j"],
        "GEODE_URL": known["offsets"]["geode"],
        "RABBITMQ_URL": known["offsets"]["rabbitmq"],
        "RABBITMQ_MANAGEMENT_URL": known["offsets"]["rabbitmq_management"],
        "INFLUXDB_URL": known["offsets"]["influxdb"],
    }
    assert {one.hostname for one in addresses.values()} <= set(services)
