"""One stack for all tests of this folder: Kafka, registry, Connect, stores, all connectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from common.clients.kafka import TopicLog
from common.settings import Settings, load_settings
from tests.eventually import eventually
from tests.homes import own_home
from tests.integration.reconcile.seed import Seeder
from tests.integration.sinks.row_editors import ROW_EDITORS, RowEditor
from tests.integration.sinks.trades import OFFERED
from tickhouse.cli import app

STORES = ("mongodb", "mongodb-raw", "elasticsearch", "cassandra")


class Sinks:
    """The running stack: writes to its topics, checks its stores, runs its commands."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.settings, self.home = settings, home
        self.seeder = Seeder(settings, "unused")

    def run(self, *arguments: str, expected: int = 0) -> str:
        """Run a command and return its standard output."""
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == expected, done.output
        return done.stdout

    def reconcile(self, *stores: str, wait_s: int = 0) -> dict[str, Any]:
        """Return the report on Kafka and these stores; by default all of them."""
        names = [part for name in ("kafka", *(stores or STORES)) for part in ("--store", name)]
        done = CliRunner().invoke(app, ["reconcile", "--json", "--wait", str(wait_s), *names])
        assert done.stdout, done.output
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def dead_letters(self, connector: str) -> list[Any]:
        """Return the records of a connector's dead-letter topic."""
        kafka = TopicLog(self.settings.kafka_bootstrap_servers)
        try:
            return list(kafka.records(f"dlq.{connector}"))
        finally:
            kafka.close()

    def states(self) -> dict[str, dict[str, Any]]:
        """Return `connectors ls` by name."""
        return {one["name"]: one for one in json.loads(self.run("connectors", "ls", "--json"))}

    def drained(self) -> None:
        """Wait until every connector runs and has read all records."""

        def is_drained() -> bool:
            connectors = self.states().values()
            return all(
                connector["state"] == "RUNNING"
                and connector["lag_records"] == 0
                and all(task["state"] == "RUNNING" for task in connector["tasks"])
                for connector in connectors
            )

        eventually(is_drained, timeout_s=180, every_s=1)


@pytest.fixture(scope="package")
def sinks() -> Iterator[Sinks]:
    from stack.engine.lifecycle import up

    with own_home() as home:
        up(services=["connect", "mongodb", "elasticsearch", "cassandra"])
        made = Sinks(load_settings(), home)
        made.run("connectors", "apply")
        trades = made.seeder
        trades.kafka("crypto.trades", OFFERED, trades.trade_value)
        trades.kafka("crypto.trades.enriched", OFFERED, trades.enriched_value)
        trades.flush()
        yield made


@pytest.fixture(scope="package")
def row_editors(sinks: Sinks) -> dict[str, RowEditor]:
    """The editors that can corrupt one row of each store."""
    return {name: make(sinks.settings) for name, make in ROW_EDITORS.items()}


def wrong(document: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return the stores and checks with faults, each with its counts."""
    faults = ("missing", "duplicate", "mismatch")
    found = {**document["stores"], **document["checks"]}
    counts = {name: {fault: one[fault] for fault in faults if one[fault]} for name, one in found.items()}
    return {name: found for name, found in counts.items() if found}
