"""What a backup saves: every service is classified, and nothing unknown is left out."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from stack.engine.lifecycle import catalog
from stack.engine.model import STACK, Service
from tickhouse.backup.rules import load


def texts(service: Service) -> str:
    """Return commands, environment and templates of a service: a data folder is named there."""
    programs = service.all_programs().values()
    commands = [word for program in programs for word in (*program.command, *program.env.values())]
    templates = [(STACK / service.name / file.template).read_text() for file in service.files]
    return "\n".join([*commands, *service.env.values(), *templates])


def test_every_service_of_the_catalog_says_what_a_backup_does_with_its_data() -> None:
    assert set(load().services) == set(catalog())


def test_a_service_that_names_its_data_folder_is_not_stateless() -> None:
    naming = {name for name, service in catalog().items() if "{{ data }}" in texts(service)}

    assert {"kafka", "postgres", "lakefs", "redis", "neo4j", "cassandra"} <= naming
    assert [name for name in sorted(naming) if load().services[name].kind == "stateless"] == []


def test_every_rule_but_stateless_says_why() -> None:
    rules = load()

    assert [
        name for name, rule in (rules.services | rules.paths).items() if rule.kind != "stateless" and not rule.why
    ] == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("data/kafka/log/crypto.trades-0/00000000000000000000.log", "source"),
        ("data/redis/appendonly.aof", "derived"),
        ("data/log_shipper/work/ship.qi", "scratch"),
        ("data/postgres/postmaster.pid", "scratch"),
        ("data/postgres/postmaster.opts", "source"),
        ("airflow/airflow.cfg", "source"),
        ("airflow/logs/dag_id=retention/attempt=1.log", "scratch"),
        ("secrets.env", "source"),
    ],
)
def test_the_nearest_rule_decides(path: str, kind: str) -> None:
    assert load().rule(PurePosixPath(path)).kind == kind


@pytest.mark.parametrize("path", ["data/a_new_server/table", "a_new_folder/file", "data"])
def test_what_nobody_named_is_saved(path: str) -> None:
    assert load().rule(PurePosixPath(path)).is_saved
