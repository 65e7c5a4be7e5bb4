"""Compose must match the native stack; every deliberate difference is listed here."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from common.settings import GEODE_ROLES, PORTS_FILE, REPO
from stack.engine.lifecycle import catalog
from stack.engine.model import Service

Services = dict[str, dict[str, Any]]

PORTS_DOCUMENT = yaml.safe_load(PORTS_FILE.read_text())
PORTS = {name: PORTS_DOCUMENT["base"] + offset for name, offset in PORTS_DOCUMENT["offsets"].items()}


def tag(service: dict[str, Any]) -> str:
    """Return the tag of a service's image, which may have a digest behind it."""
    image: str = service["image"]
    return image.partition("@")[0].rpartition(":")[2]


def properties(path: Path) -> dict[str, str]:
    return _properties_of(path.read_text())


def _properties_of(text: str) -> dict[str, str]:
    lines = (line.strip() for line in text.splitlines())
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


def test_connect_differs_in_addresses_and_folders_only() -> None:
    native = properties(REPO / "stack" / "connect" / "connect.properties.j2")

    assert differing(native, properties(REPO / "compose" / "connect.properties")) == {
        *("bootstrap.servers", "listeners", "rest.advertised.host.name", "rest.advertised.port"),
        *("rest.guard.login.file", "rest.guard.hosts", "rest.guard.secrets.file"),
        *("value.converter.apicurio.registry.url", "plugin.path", "config.providers.secrets.param.folder"),
    }


def test_redis_differs_in_address_folder_and_password_only() -> None:
    native = redis_settings(REPO / "stack" / "redis" / "redis.conf.j2")

    assert differing(native, redis_settings(REPO / "compose" / "redis.conf")) == {
        "bind",
        "port",
        "dir",
        "requirepass",
        "user",
    }


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
    assert native.keys() - composed.keys() - secret == {"SPARK_LOCAL_IP"}  # its UI must be reachable from outside
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
    images = {name: tag(one) for name, one in services.items()}

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

    images = {name: tag(one) for name, one in services.items()}
    cassandra = (REPO / "stack" / "cassandra" / "pom.xml").read_text()

    assert images["elasticsearch"] == VERSION
    assert f"<artifactId>cassandra-all</artifactId><version>{images['cassandra']}</version>" in cassandra


def native_stores() -> dict[str, Service]:
    return {name: service for name, service in catalog().items() if "stores" in service.profiles}


def rendered(text: str) -> str:
    """Return a template with the ports of the native stack and placeholders for other values."""
    with_ports = re.sub(r"\{\{ port\.(\w+) \}\}", lambda found: str(PORTS[found[1]]), text)
    return re.sub(r"\{\{.*?\}\}", "native", with_ports)


def normal_size(text: str) -> str:
    """Return a template with the values of the normal size."""
    return re.sub(r"\{\{ sized\('(\w+)', '\w+'\) \}\}", r"\1", text)


def site(path: Path) -> dict[str, str]:
    root = ElementTree.fromstring(rendered(path.read_text()))  # noqa: S314
    return {one.findtext("name", ""): one.findtext("value", "") for one in root.iter("property")}


def test_profile_stores_runs_the_native_programs(services: Services) -> None:
    native = {name.replace("_", "-") for service in native_stores().values() for name in service.all_programs()}
    composed = {name for name, one in services.items() if "stores" in one["profiles"] and one["restart"] != "no"}

    # Erlang's register of nodes runs inside the image of the server.
    assert native - composed == {"rabbitmq-epmd"}
    assert composed <= native


def test_profile_stores_publishes_the_native_ports(services: Services) -> None:
    native = {PORTS[name] for service in native_stores().values() for name in service.ports}
    stores = [one for one in services.values() if "stores" in one["profiles"]]
    published = {int(port.rpartition(":")[2]) for one in stores for port in one.get("ports", [])}

    # Only other nodes of the same server would use the first four, and there are none; the others
    # are metrics, which Prometheus reads inside the network.
    assert native - published == {
        *(PORTS[name] for name in ("hdfs_datanode_ipc", "geode_membership", "rabbitmq_dist", "rabbitmq_epmd")),
        *(PORTS[name] for name in ("notifier_metrics", "bridge_metrics", "rabbitmq_metrics")),
    }
    assert published <= native


def test_minio_differs_in_addresses_and_folder_only(services: Services) -> None:
    native, composed = native_stores()["minio"], services["minio"]
    words = [rendered(word) for word in native.command or ()]

    assert [word.replace("0.0.0.0", "127.0.0.1") for word in composed["command"][1:-1]] == words[1:-1]  # noqa: S104
    assert composed["command"][-1].rpartition("/")[2] == words[-1].rpartition("/")[2]
    plain = {name: value for name, value in native.env.items() if "{{" not in value}
    assert composed["environment"] == plain
    assert rendered(native.ready.http or "") in composed["healthcheck"]["test"]


def test_neo4j_differs_in_addresses_folders_and_logs_only(services: Services) -> None:
    native = properties(REPO / "stack" / "neo4j" / "neo4j.conf.j2")
    environment = services["neo4j"]["environment"]
    composed = {
        name.removeprefix("NEO4J_").replace("__", "-").replace("_", ".").replace("-", "_"): str(value)
        for name, value in environment.items()
    }

    assert differing({name: rendered(value) for name, value in native.items()}, composed) == {
        *("server.default_listen_address", "server.bolt.listen_address", "server.http.listen_address"),
        *("server.directories.data", "server.directories.logs", "server.logs.config", "server.logs.user.config"),
        *("server.memory.heap.initial_size", "server.memory.heap.max_size"),  # natively on the command line
    }


def conf(text: str) -> dict[str, str]:
    lines = (line.partition(" = ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def test_rabbitmq_differs_in_addresses_and_login_only() -> None:
    native = conf(rendered((REPO / "stack" / "rabbitmq" / "rabbitmq.conf.j2").read_text()))
    composed = conf((REPO / "compose" / "rabbitmq.conf").read_text())

    assert differing(native, composed) == {
        *("listeners.tcp.default", "management.tcp.ip", "prometheus.tcp.ip"),
        *("default_vhost", "default_user", "default_pass"),
    }
    assert native["listeners.tcp.default"].rpartition(":")[2] == composed["listeners.tcp.default"]


def test_rabbitmq_has_the_version_and_login_of_the_native_stack(services: Services) -> None:
    from compose.prepare import image_secrets
    from stack.engine.debian_packages import read
    from stack.engine.secrets import GENERATORS

    native = read(REPO / "stack" / "rabbitmq" / "packages.yaml").packages["rabbitmq-server"].version
    login = image_secrets({name: name for name in GENERATORS})["rabbitmq"]
    template = conf((REPO / "stack" / "rabbitmq" / "rabbitmq.conf.j2").read_text())

    assert tag(services["rabbitmq"]) == f"{native.partition('-')[0]}-management"
    assert login["RABBITMQ_DEFAULT_USER"] == template["default_user"]
    assert login["RABBITMQ_DEFAULT_VHOST"] == template["default_vhost"]


def test_neo4j_has_the_version_of_the_native_stack(services: Services) -> None:
    pom = (REPO / "stack" / "neo4j" / "pom.xml").read_text()
    version = tag(services["neo4j"]).removesuffix("-community")

    assert f"<artifactId>neo4j</artifactId><version>{version}</version></dependency>" in pom


def test_geode_differs_in_addresses_and_the_rest_api_only(services: Services) -> None:
    template = (REPO / "stack" / "geode" / "node.properties.j2").read_text()
    first = PORTS["geode_membership"]
    for plus in (1, 2):
        template = template.replace(f"{{{{ port.geode_membership + {plus} }}}}", str(first + plus))
    native = {name: rendered(value) for name, value in _properties_of(template).items()}
    composed = properties(REPO / "compose" / "geode.properties")

    assert differing(native, composed) == {
        *("bind-address", "server-bind-address", "start-locator", "locators", "cache-xml-file"),
        *("start-dev-rest-api", "http-service-bind-address", "http-service-port", "security-manager"),
    }
    assert composed["http-service-port"] == str(PORTS["geode"])
    assert composed["locators"].endswith(f"[{PORTS['geode_locator']}]")
    assert f"--server-port={PORTS['geode_server']}" in services["geode"]["command"]
    node = (REPO / "stack" / "geode" / "Node.java").read_text()
    assert f"import {composed['security-manager']};" in node


def test_geode_reads_the_native_files(services: Services) -> None:
    from compose.prepare import geode_users
    from stack.engine.secrets import GENERATORS

    mounted = services["geode"]["volumes"]
    users = json.loads(geode_users({name: f"value of {name}" for name in GENERATORS}))

    assert "./stack/geode/cache.xml:/etc/tickhouse/geode/cache.xml:ro" in mounted
    assert {one["name"]: one["password"] for one in users["users"]} == {
        f"tickhouse_{role}": f"value of GEODE_{role.upper()}_PASSWORD" for role in GEODE_ROLES
    }


def test_geode_has_the_version_of_the_native_stack(services: Services) -> None:
    pom = (REPO / "stack" / "geode" / "pom.xml").read_text()
    version = tag(services["geode"])

    assert f"<artifactId>geode-core</artifactId><version>{version}</version></dependency>" in pom


def test_influxdb_has_the_flags_of_the_native_stack(services: Services) -> None:
    command = native_stores()["influxdb"].command or ()
    flags = [normal_size(word).removeprefix("--").partition("=") for word in command if word.startswith("--")]
    native = {f"INFLUXD_{name.replace('-', '_').upper()}": rendered(value) or "true" for name, _, value in flags}
    native |= {name: normal_size(value) for name, value in native_stores()["influxdb"].env.items()}

    assert differing(native, services["influxdb"]["environment"]) == {
        *("INFLUXD_HTTP_BIND_ADDRESS", "INFLUXD_BOLT_PATH", "INFLUXD_SQLITE_PATH", "INFLUXD_ENGINE_PATH"),
    }


def test_influxdb_has_the_version_of_the_native_stack(services: Services) -> None:
    from stack.engine.source_build import SourceBuild

    build = SourceBuild(native_stores()["influxdb"].fetch.source["influxd"])
    version = tag(services["influxdb"])
    required = [line.split() for line in (build.path / "go.mod").read_text().splitlines() if "influxdb/v2" in line]

    assert build.file.version == version
    assert required == [["require", "github.com/influxdata/influxdb/v2", f"v{version}"]]


def test_minio_gets_the_native_secrets() -> None:
    from compose.prepare import image_secrets
    from stack.engine.secrets import GENERATORS

    native = {name for name, value in native_stores()["minio"].env.items() if "secret(" in value}
    assert image_secrets({name: name for name in GENERATORS})["minio"] == {name: name for name in native}


def test_minio_and_hdfs_have_the_versions_of_the_native_stack() -> None:
    dockerfile = (REPO / "compose" / "Dockerfile").read_text()
    pom = (REPO / "stack" / "hdfs" / "pom.xml").read_text()
    hadoop = re.findall(r"<hadoop\.version>(.+)</hadoop\.version>", pom)

    assert re.findall(r"go install .* (\S+)$", dockerfile, re.MULTILINE) == [native_stores()["minio"].fetch.go["minio"]]
    assert re.findall(r"^FROM apache/hadoop:(\S+) AS hdfs$", dockerfile, re.MULTILINE) == hadoop


def test_hdfs_differs_in_addresses_and_folders_only() -> None:
    native: dict[str, str] = {}
    composed: dict[str, str] = {}
    for name in ("core-site.xml", "hdfs-site.xml"):
        native |= site(REPO / "stack" / "hdfs" / f"{name}.j2")
        composed |= site(REPO / "compose" / "hdfs" / name)

    addresses = {
        *("fs.defaultFS", "dfs.namenode.rpc-address", "dfs.namenode.http-address"),
        *("dfs.datanode.address", "dfs.datanode.http.address", "dfs.datanode.ipc.address"),
    }
    folders = {"hadoop.tmp.dir", "dfs.namenode.name.dir", "dfs.datanode.data.dir"}
    assert differing(native, composed) == addresses | folders
    assert {composed[name].rpartition(":")[2] for name in addresses} == {
        native[name].rpartition(":")[2] for name in addresses
    }


def test_hdfs_keeps_its_folders_in_volumes(services: Services) -> None:
    settings = site(REPO / "compose" / "hdfs" / "hdfs-site.xml")

    for name, key in (("hdfs-namenode", "dfs.namenode.name.dir"), ("hdfs-datanode", "dfs.datanode.data.dir")):
        assert f"file://{services[name]['volumes'][0].partition(':')[2]}" == settings[key], name


def test_hdfs_has_the_native_jvm_options_and_log_format(services: Services) -> None:
    native = (REPO / "stack" / "hdfs" / "jvm.options.j2").read_text().splitlines()
    # The image sets the class path, and its Hadoop opens the packages that its JVM needs.
    options = [line for line in native[: native.index("-cp")] if not line.startswith("--add-opens")]

    for name in ("hdfs-namenode", "hdfs-datanode"):
        assert services[name]["environment"]["HADOOP_OPTS"].split() == options, name
    assert "stack/hdfs/log4j.properties" in (REPO / "compose" / "Dockerfile").read_text()


def test_name_node_is_formatted_as_natively(services: Services) -> None:
    native = (REPO / "stack" / "hdfs" / "setup.py").read_text()
    command = services["hdfs-namenode"]["command"][-1]

    assert '"-format", "-nonInteractive"' in native
    assert "hdfs namenode -format -nonInteractive" in command
    assert "/var/lib/hdfs/name/current/VERSION" in command


def test_hdfs_is_ready_as_natively(services: Services) -> None:
    native = (REPO / "stack" / "hdfs" / "setup.py").read_text()
    check = services["hdfs-datanode"]["healthcheck"]["test"][-1]

    for word in ("/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState", "NumLiveDataNodes", "FSState"):
        assert word in native
        assert word in check
    pattern = re.findall(r"grep -cE '(.+?)'", check)[0]
    answer = ['    "FSState" : "Operational",', '    "NumLiveDataNodes" : 1,', '    "NumDeadDataNodes" : 0,']
    assert [bool(re.search(pattern, line)) for line in answer] == [True, True, False]
    assert not re.search(pattern, '    "NumLiveDataNodes" : 0,')
    assert not re.search(pattern, '    "FSState" : "safeMode",')


def test_the_lake_waits_for_its_store_as_natively(services: Services) -> None:
    # In the native stack lakeFS waits for its store; here the first service that writes does.
    needed = {name for by in catalog()["lakefs"].depends_when["lake_store"].values() for name in by}
    waited_for = services["provision-stores"]["depends_on"]

    assert needed == {"minio", "hdfs"}
    assert set(waited_for) == {"minio", "hdfs-datanode", "neo4j", "rabbitmq", "influxdb"}
    assert "provision-stores" in services["provision"]["depends_on"]


def test_image_holds_the_jars_that_our_code_asks_for() -> None:
    from compose.jars import POMS
    from mapreduce.monthly_volume import POM

    dockerfile = (REPO / "compose" / "Dockerfile").read_text()
    assert POMS["mapreduce"] == POM
    assert set(re.findall(r"^RUN XDG_CACHE_HOME=/opt/cache .* compose\.jars (\w+)$", dockerfile, re.MULTILINE)) == set(
        POMS
    )


def yaml_file(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(rendered(path.read_text()))
    return document


def test_alertmanager_differs_in_address_and_token_only() -> None:
    native = yaml_file(REPO / "stack" / "alertmanager" / "alertmanager.yml.j2")
    composed = yaml_file(REPO / "compose" / "alertmanager.yml")
    ours, theirs = (one["receivers"][0]["webhook_configs"][0] for one in (native, composed))

    assert native["route"] == composed["route"]
    assert ours.pop("url").replace("127.0.0.1", "alert-watcher") == theirs.pop("url")
    assert ours.pop("http_config")["authorization"].keys() != theirs.pop("http_config")["authorization"].keys()
    assert ours == theirs


def test_prometheus_scrapes_the_native_jobs_on_the_native_ports() -> None:
    from tickhouse.metrics.targets import JOBS

    composed = yaml_file(REPO / "compose" / "prometheus.yml")
    found = {}
    for job in composed["scrape_configs"]:
        static = [int(one.rpartition(":")[2]) for group in job.get("static_configs", []) for one in group["targets"]]
        named = [one["port"] for one in job.get("dns_sd_configs", [])]
        found[job["job_name"]] = (*static, *named)

    # The official images have no JMX agent, and lakeFS has metrics where the stand-in has none.
    # `tickhouse live start` works with the native stack only.
    jobs = [job for job in JOBS if not job.is_agent and not job.program.startswith("live_")]
    native = {job.job: (PORTS[job.port],) for job in jobs}
    assert found == native | {"lakefs": (PORTS["lakefs"],)}
    paths = {job["job_name"]: job["metrics_path"] for job in composed["scrape_configs"] if "metrics_path" in job}
    assert paths == {job.job: job.path for job in JOBS if job.path != "/metrics"}


def test_prometheus_and_exporters_have_the_native_versions_and_limits(services: Services) -> None:
    from stack.engine.debian_packages import read

    pins = {
        name: package.version.partition("+")[0].partition("-")[0]
        for service in ("prometheus", "alertmanager", "exporters")
        for name, package in read(REPO / "stack" / service / "packages.yaml").packages.items()
    }
    names = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
    names |= {f"{one}-exporter": f"prometheus-{one}-exporter" for one in ("node", "postgres", "redis")}
    kept = yaml.safe_load((REPO / "stack" / "retention.yaml").read_text())["prometheus"]

    images = {name: tag(services[name]).removeprefix("v").removesuffix("-alpine") for name in names}
    assert images == {name: pins[package] for name, package in names.items()}
    assert f"--storage.tsdb.retention.time={kept['days']}d" in services["prometheus"]["command"]
    assert f"--storage.tsdb.retention.size={kept['most_mb']}MB" in services["prometheus"]["command"]
