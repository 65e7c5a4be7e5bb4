"""Where compose must say the same as the native stack; each deliberate difference is named here."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from tickhouse.settings import REPO

Services = dict[str, dict[str, Any]]


def properties(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def redis_settings(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return {name: value for name, _, value in (line.partition(" ") for line in lines if line and line[0] != "#")}


def differing(native: dict[str, str], composed: dict[str, str]) -> set[str]:
    return {name for name in native.keys() | composed.keys() if native.get(name) != composed.get(name)}


def kafka_name(variable: str) -> str:
    return variable.removeprefix("KAFKA_").lower().replace("_", ".")


def test_broker_differs_in_listeners_and_folders_only(services: Services) -> None:
    native = properties(REPO / "stack" / "kafka" / "server.properties.j2")
    environment = services["kafka"]["environment"]
    composed = {kafka_name(name): str(value) for name, value in environment.items() if name.startswith("KAFKA_")}

    assert differing(native, composed) == {
        *("listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs", "heap.opts"),
        *("inter.broker.listener.name", "listener.security.protocol.map"),
    }


def test_connect_differs_in_addresses_and_folder_only() -> None:
    native = properties(REPO / "stack" / "connect" / "connect.properties.j2")

    assert differing(native, properties(REPO / "compose" / "connect.properties")) == {
        *("bootstrap.servers", "listeners", "rest.advertised.host.name", "rest.advertised.port"),
        *("value.converter.apicurio.registry.url", "plugin.path", "config.providers.secrets.param.folder"),
    }


def test_redis_differs_in_address_folder_and_password_only() -> None:
    native = redis_settings(REPO / "stack" / "redis" / "redis.conf.j2")

    assert differing(native, redis_settings(REPO / "compose" / "redis.conf")) == {"bind", "port", "dir", "requirepass"}


def test_postgres_has_the_native_options(services: Services) -> None:
    native = yaml.safe_load((REPO / "stack" / "postgres" / "service.yaml").read_text())["command"]
    options = {option for flag, option in pairwise(native) if flag == "-c"}
    command = services["postgres"]["command"]
    composed = {option for flag, option in pairwise(command) if flag == "-c"}

    assert options - composed == {"listen_addresses=127.0.0.1", "unix_socket_directories="}
    assert composed <= options


def test_airflow_differs_in_addresses_and_secrets_only(document: dict[str, Any]) -> None:
    native = yaml.safe_load((REPO / "stack" / "airflow" / "service.yaml").read_text())["env"]
    composed = document["x-airflow-environment"]

    from compose.prepare import image_secrets
    from stack.engine.secrets import GENERATORS

    secret = set(image_secrets(dict.fromkeys(GENERATORS, "x"))["airflow"])
    assert native.keys() - composed.keys() - secret == {"SPARK_LOCAL_IP"}  # its UI must be seen from outside
    assert composed.keys() <= native.keys()
    plain = {name: value for name, value in native.items() if "{{" not in value and name in composed}
    assert differing(plain, {name: composed[name] for name in plain}) == {"AIRFLOW__API__HOST"}


def test_airflow_runs_the_native_programs(services: Services) -> None:
    native = yaml.safe_load((REPO / "stack" / "airflow" / "service.yaml").read_text())["programs"]

    for name, program in native.items():
        assert services[name]["command"] == ["airflow", *program["command"][1:]], name


def test_versions_are_those_of_the_native_stack(services: Services) -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    pins = dict(pin.split("==") for pin in project["dependencies"])
    pom = (REPO / "stack" / "kafka" / "pom.xml").read_text()
    registry = yaml.safe_load((REPO / "stack" / "registry" / "service.yaml").read_text())["fetch"]["archives"]["app"]
    images = {name: one["image"].rpartition(":")[2] for name, one in services.items()}

    assert images["kafka"] in re.findall(r">(\d+\.\d+\.\d+)<", pom)
    assert images["registry"] == registry.split(":")[2]
    assert images["lakefs"] == pins["lakefs-sdk"]
    ours = {one["image"].partition(":")[2] for one in services.values() if one["image"].startswith("tickhouse")}
    assert ours == {project["version"]}


def test_image_installs_with_the_native_installer_and_brokers_version(services: Services) -> None:
    dockerfile = (REPO / "compose" / "Dockerfile").read_text()
    uv = re.findall(r'^UV = "(.+)"$', (REPO / "stack" / "setup.py").read_text(), re.MULTILINE)

    assert uv
    assert uv[0] in dockerfile
    assert f"FROM {services['kafka']['image']} AS connect" in dockerfile


def test_cassandra_differs_in_addresses_and_folders_only() -> None:
    template = (REPO / "stack" / "cassandra" / "cassandra.yaml.j2").read_text()
    native = yaml.safe_load(re.sub(r"\{\{ port\.\w+ \}\}", "1", template).replace("{{ data }}", "/data"))
    composed = yaml.safe_load((REPO / "compose" / "cassandra.yaml").read_text())

    assert differing(native, composed) == {
        *("seed_provider", "storage_port", "ssl_storage_port", "rpc_address", "broadcast_rpc_address"),
        *("native_transport_port", "data_file_directories", "commitlog_directory", "saved_caches_directory"),
        *("hints_directory", "cdc_raw_directory"),
    }


def test_elasticsearch_differs_in_address_and_folders_only(services: Services) -> None:
    template = (REPO / "stack" / "elasticsearch" / "elasticsearch.yml.j2").read_text()
    native = {name: str(value) for name, value in yaml.safe_load(re.sub(r"\{\{.*?\}\}", "1", template)).items()}
    composed = {name: str(value) for name, value in services["elasticsearch"]["environment"].items()}

    lowered = {name: value.lower() if value in ("True", "False") else value for name, value in native.items()}
    assert differing(lowered, composed) == {
        *("network.host", "http.port", "transport.port", "path.data", "path.logs", "ES_JAVA_OPTS"),
    }


def test_sinks_have_the_versions_of_the_native_stack(services: Services) -> None:
    from stack.elasticsearch.setup import VERSION

    images = {name: one["image"].rpartition(":")[2] for name, one in services.items()}
    cassandra = (REPO / "stack" / "cassandra" / "pom.xml").read_text()

    assert images["elasticsearch"] == VERSION
    assert f"<artifactId>cassandra-all</artifactId><version>{images['cassandra']}</version>" in cassandra
