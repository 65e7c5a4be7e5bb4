"""Profile core on real servers: what `tickhouse up` promises to have made."""

from __future__ import annotations

import json
from typing import Any

import httpx
import lakefs
import psutil
import pytest
import yaml
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from common.settings import REPO, Settings, ports
from stack.engine import supervisor
from stack.engine.lifecycle import catalog, context_of
from stack.engine.processes import process_tree
from stack.kafka.setup import create_topics
from tests.conftest import Stack
from tickhouse.retention.declaration import load

pytestmark = pytest.mark.e2e

TOPICS: dict[str, dict[str, Any]] = yaml.safe_load((REPO / "schemas" / "topics.yaml").read_text())["topics"]


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up()


def test_topics_are_as_in_the_file_and_stay_so(settings: Settings) -> None:
    create_topics(context_of(catalog()["kafka"], settings))  # again: nothing changes
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    present = admin.list_topics(timeout=20).topics

    assert {name: len(present[name].partitions) for name in TOPICS} == {
        name: topic["partitions"] for name, topic in TOPICS.items()
    }
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in TOPICS]
    for resource, future in admin.describe_configs(resources, request_timeout=20).items():
        values = {name: entry.value for name, entry in future.result().items()}
        wanted = TOPICS[resource.name].get("config", {})
        assert {name: values[name] for name in wanted} == wanted


def test_schemas_are_registered_and_may_only_evolve_both_ways(settings: Settings) -> None:
    with httpx.Client(base_url=settings.schema_registry_url, timeout=30) as registry:
        subjects = registry.get("/subjects").json()
        policy = registry.get("/config").json()

    assert {f"{name}-value" for name, topic in TOPICS.items() if "schema" in topic} <= set(subjects)
    assert policy["compatibilityLevel"] == "FULL_TRANSITIVE"


def test_connect_knows_the_avro_converter(settings: Settings) -> None:
    url, *login = settings.connect_login()
    answer = httpx.get(f"{url}/connector-plugins?connectorsOnly=false", auth=tuple(login), timeout=30).json()

    assert "io.apicurio.registry.utils.converter.AvroConverter" in [plugin["class"] for plugin in answer]


def test_the_lake_has_the_branch_that_streaming_writes_to(settings: Settings) -> None:
    client = lakefs.Client(
        host=settings.lakefs_endpoint,
        username=settings.lakefs_access_key_id,
        password=settings.lakefs_secret_access_key.get_secret_value(),
    )
    branches = {branch.id for branch in lakefs.Repository(settings.lake_repository, client).branches()}

    assert {"main", "ingest"} <= branches


@pytest.mark.parametrize(("user", "field", "may_trigger"), [("admin", "admin", True), ("analyst", "viewer", False)])
def test_airflow_users_log_in_with_their_own_rights(
    settings: Settings, user: str, field: str, may_trigger: bool
) -> None:
    password = getattr(settings, f"airflow_{field}_password").get_secret_value()
    with httpx.Client(base_url=settings.airflow_url, timeout=60) as airflow:
        login = airflow.post("/auth/token", json={"username": user, "password": password})
        assert login.status_code == 201
        headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
        assert airflow.get("/api/v2/dags", headers=headers).status_code == 200
        # A DAG that does not exist: who may trigger is told so, who may not is refused before that.
        run = airflow.post("/api/v2/dags/none/dagRuns", headers=headers, json={"logical_date": None})
        wrong = airflow.post("/auth/token", json={"username": user, "password": "guessed"})

    assert run.status_code == (404 if may_trigger else 403)
    assert wrong.status_code == 401


def test_nothing_listens_beyond_this_machine(settings: Settings) -> None:
    ours = {process.pid for process in process_tree(supervisor.supervisor_pid() or 0)}
    listening = [
        one
        for one in psutil.net_connections(kind="tcp")
        if one.pid in ours and one.status == psutil.CONN_LISTEN and one.laddr
    ]

    assert {ports()["kafka"], ports()["airflow"], ports()["lakefs"]} <= {one.laddr.port for one in listening}
    assert {one.laddr.ip for one in listening} <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_airflow_keeps_its_files_to_itself(settings: Settings, stack: Stack) -> None:
    passwords = stack.home / "conf" / "airflow" / "passwords.json"

    assert passwords.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(passwords.read_text())) == {"admin", "analyst"}
    assert not list((stack.home / "airflow").glob("simple_auth_manager_passwords*"))


def test_every_log_file_is_where_something_rotates_it(settings: Settings, stack: Stack) -> None:
    # supervisord rotates `logs`, retention what is named there; Kafka's segments are its data.
    bounded = ("logs", *(kept.path for kept in load().files))
    # Written anew by each migration of Airflow's database.
    single = {"data/airflow/migrate.log"}

    paths = [path for path in stack.home.rglob("*.log*") if path.is_file()]
    names = {path.relative_to(stack.home).as_posix() for path in paths} - single
    others = {name for name in names if not name.startswith(bounded) and not name.startswith("data/kafka/log/")}
    assert "logs/kafka.log" in names
    assert others == set()
