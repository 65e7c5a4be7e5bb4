"""Rules for docker-compose.yml that can be checked without Docker."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from common.settings import PORTS_FILE, REPO, Settings
from stack.engine.secrets import GENERATORS

Services = dict[str, dict[str, Any]]

PORTS_DOCUMENT = yaml.safe_load(PORTS_FILE.read_text())
NATIVE = {name: PORTS_DOCUMENT["base"] + offset for name, offset in PORTS_DOCUMENT["offsets"].items()}

# Service to the names of stack/ports.yaml that it publishes; other ports are internal.
PUBLISHED = {
    "kafka": ["kafka"],
    "registry": ["registry"],
    "connect": ["connect"],
    "postgres": ["postgres"],
    "redis": ["redis"],
    "lakefs": ["lakefs"],
    "airflow-api-server": ["airflow"],
    "airflow-scheduler": ["spark_ui"],
    "data-docs": ["data_docs"],
    "exchange": ["exchange"],
    "api": ["api"],
    "kibana": ["kibana"],
    "mongodb": ["mongodb"],
    "elasticsearch": ["elasticsearch"],
    "cassandra": ["cassandra"],
    "minio": ["minio", "minio_console"],
    "neo4j": ["neo4j", "neo4j_http"],
    "geode": ["geode", "geode_locator", "geode_server"],
    "rabbitmq": ["rabbitmq", "rabbitmq_management"],
    "influxdb": ["influxdb"],
    "prometheus": ["prometheus"],
    "alertmanager": ["alertmanager"],
    "hdfs-namenode": ["hdfs_namenode", "hdfs_namenode_http"],
    "hdfs-datanode": ["hdfs_datanode", "hdfs_datanode_http"],
    "grafana": ["grafana"],
    "metabase": ["metabase"],
}
ONE_SHOT = {"provision", "provision-sinks", "provision-stores", "provision-logs", "boards-prepare", "metabase-setup"}
CORE = {
    *("kafka", "registry", "connect", "postgres", "redis", "lakefs", "lake-gate", "provision", "data-docs", "api"),
    *("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"),
    "alert-watcher",
}
DEMO = {"exchange", "producer"}
SINKS = {"mongodb", "elasticsearch", "cassandra", "provision-sinks"}
STORES = {
    *("minio", "hdfs-namenode", "hdfs-datanode", "neo4j", "geode", "influxdb", "provision-stores"),
    *("rabbitmq", "alert-bridge", "notification-worker"),
}
OBSERVE = {
    *("prometheus", "alertmanager", "node-exporter", "postgres-exporter", "redis-exporter", "store-metrics"),
    *("elasticsearch", "kibana", "logstash", "filebeat", "provision-logs"),
    *("boards-prepare", "grafana", "metabase", "metabase-setup"),
}
NAMES = ("core", "demo", "sinks", "stores", "observe")
PINNED = re.compile(r"[a-z0-9_./-]+:v?\d+\.\d+[A-Za-z0-9._-]*(@sha256:[0-9a-f]{64})?")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|FERNET|ACCESS_KEY|SQL_ALCHEMY_CONN")


def test_services_of_each_profile(services: Services) -> None:
    profiles = {name: {key for key, one in services.items() if name in one["profiles"]} for name in NAMES}

    assert profiles == {"core": CORE, "demo": CORE | DEMO, "sinks": CORE | SINKS, "stores": STORES, "observe": OBSERVE}
    assert all("full" in one["profiles"] for one in services.values())


def test_profiles_have_the_names_of_the_native_stack(services: Services) -> None:
    native = {
        name for path in REPO.glob("stack/*/service.yaml") for name in yaml.safe_load(path.read_text())["profiles"]
    }

    assert {name for one in services.values() for name in one["profiles"]} <= native | {"full"}


def test_ports_are_on_the_loopback_and_the_native_ones(services: Services) -> None:
    found = {name: one["ports"] for name, one in services.items() if "ports" in one}

    assert found == {
        name: [f"127.0.0.1:{NATIVE[port]}:{NATIVE[port]}" for port in names] for name, names in PUBLISHED.items()
    }


def test_images_are_pinned(services: Services) -> None:
    assert [one["image"] for one in services.values() if not PINNED.fullmatch(one["image"])] == []


def test_base_images_are_pinned() -> None:
    lines = re.findall(r"^FROM (\S+)", (REPO / "compose" / "Dockerfile").read_text(), re.MULTILINE)

    assert lines
    assert [image for image in lines if not PINNED.fullmatch(image)] == []


def test_every_service_has_a_memory_limit(services: Services) -> None:
    assert [name for name, one in services.items() if not re.fullmatch(r"\d+[mg]", one.get("mem_limit", ""))] == []


def test_every_service_has_a_cpu_limit_that_a_machine_of_two_cores_has(services: Services) -> None:
    limits = {
        name: str(one.get("cpus")).removeprefix("${SPARK_CPUS:-").removesuffix("}") for name, one in services.items()
    }

    assert {name: limit for name, limit in limits.items() if limit not in {"0.5", "1.0", "2.0"}} == {}


def test_every_service_drops_all_capabilities(services: Services) -> None:
    start = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    added = {name: set(one["cap_add"]) for name, one in services.items() if "cap_add" in one}

    assert [name for name, one in services.items() if one["cap_drop"] != ["ALL"]] == []
    assert [name for name, one in services.items() if one["security_opt"] != ["no-new-privileges:true"]] == []
    assert added.pop("filebeat") == {"DAC_OVERRIDE"}
    assert set(added) == {*("postgres", "redis", "mongodb", "cassandra", "neo4j", "rabbitmq", "influxdb", "metabase")}
    assert [name for name, rights in added.items() if rights != start] == []


def test_findings_that_we_accept_name_services_and_have_a_reason(services: Services) -> None:
    rules = yaml.safe_load((REPO / ".compose-lint.yml").read_text())["rules"]
    reasons = [reason for rule in rules.values() for reason in rule.get("exclude_services", {}).values()]

    assert {name for rule in rules.values() for name in rule.get("exclude_services", {})} <= set(services)
    off = {id_: rule["reason"] for id_, rule in rules.items() if rule.get("enabled") is False}
    assert set(off) == {"CL-0007", "CL-0019"}
    assert all(len(reason) > 30 for reason in [*reasons, *off.values()])


def test_dependencies_exist_in_every_profile_of_the_dependant(services: Services) -> None:
    for name, one in services.items():
        for needed, how in one.get("depends_on", {}).items():
            assert needed in services, f"{name} needs {needed}"
            missing = set(one["profiles"]) - set(services[needed]["profiles"])
            # Compose refuses a required dependency whose profile is off, and ignores an optional
            # one.
            assert bool(missing) != how.get("required", True), f"{name} needs {needed}"


def test_dependencies_wait_for_a_state_that_the_other_reports(services: Services) -> None:
    for name, one in services.items():
        for needed, how in one.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == wanted, f"{name} on {needed}"


def test_dependencies_have_no_circle(services: Services) -> None:
    from graphlib import TopologicalSorter

    order = list(TopologicalSorter({name: one.get("depends_on", {}) for name, one in services.items()}).static_order())

    assert set(order) == set(services)


def test_long_running_services_have_a_health_check_and_restart(services: Services) -> None:
    for name in services.keys() - ONE_SHOT:
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert services[name]["restart"] == "unless-stopped", name
    assert all(services[name]["restart"] == "no" for name in ONE_SHOT)


def test_no_secret_is_in_the_file(services: Services) -> None:
    for name, one in services.items():
        named = [key for key in one.get("environment", {}) if SECRET_NAME.search(key) and not key.endswith("_FILE")]
        assert named == [], name


def test_no_address_contains_a_login(services: Services) -> None:
    values = [str(value) for one in services.values() for value in one.get("environment", {}).values()]

    assert [value for value in values if "@" in urlsplit(value).netloc] == []


def test_only_our_own_code_gets_the_whole_secrets_file(services: Services) -> None:
    with_all = {name for name, one in services.items() if ".tickhouse/secrets.env" in one.get("env_file", [])}

    assert with_all == {"provision", "provision-sinks", "airflow-scheduler"}


def test_environment_names_of_addresses_are_settings(document: dict[str, Any]) -> None:
    unknown = {name.lower() for name in document["x-addresses"]} - set(Settings.model_fields)

    assert unknown == set()


def test_addresses_lead_to_services_on_their_ports(document: dict[str, Any], services: Services) -> None:
    for name, value in document["x-addresses"].items():
        parts = urlsplit(value if "://" in value else f"//{value}")
        assert parts.hostname in services, name
        if name != "KAFKA_BOOTSTRAP_SERVERS":  # has a listener of its own for the other containers
            assert parts.port in NATIVE.values(), name


def test_named_volumes_are_declared_and_used(document: dict[str, Any], services: Services) -> None:
    sources = {volume.split(":")[0] for one in services.values() for volume in one.get("volumes", [])}

    assert {source for source in sources if "/" not in source} == set(document["volumes"])
    assert [source for source in sources if source.startswith("./") and not (REPO / source).exists()] == []


@pytest.mark.parametrize("key", ["privileged", "pid", "ipc", "userns_mode", "devices"])
def test_nothing_gets_more_rights(services: Services, key: str) -> None:
    assert [name for name, one in services.items() if key in one] == []


def test_every_image_that_is_built_is_a_stage_that_does_not_run_as_root(services: Services) -> None:
    text = (REPO / "compose" / "Dockerfile").read_text()
    stages = {part.split(maxsplit=1)[0]: part for part in re.split(r"^FROM \S+ AS ", text, flags=re.MULTILINE)[1:]}
    targets = {one["build"]["target"] for one in services.values() if "build" in one}

    assert targets <= set(stages)
    # `connect` has the user of the official image.
    last_user = {name: re.findall(r"^USER (\S+)", stages[name], re.MULTILINE)[-1:] for name in targets - {"connect"}}
    assert last_user == {"tickhouse": ["tickhouse"], "minio": ["minio"], "hdfs": ["hadoop"]}


def test_secrets_and_data_stay_out_of_the_images() -> None:
    ignored = (REPO / "compose" / "Dockerfile.dockerignore").read_text().splitlines()

    assert {".tickhouse", ".venv", ".git"} <= set(ignored)


def test_every_generated_secret_is_known() -> None:
    assert set(GENERATORS) <= {name.upper() for name in Settings.model_fields}
