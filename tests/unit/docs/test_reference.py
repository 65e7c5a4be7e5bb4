"""Reference pages against the code they describe."""

from __future__ import annotations

import dataclasses
import re
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from pydantic import SecretStr
from typer.main import get_command

from common import errors
from common.settings import PORTS_FILE, REPO, Settings
from stack.engine.secrets import GENERATORS
from tests.unit.docs.pages import table_rows

REFERENCE = REPO / "docs" / "reference"
MARKETS_DAY_MS = 86_400_000


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every setting out of the environment: defaults are documented, not this machine."""
    from common import settings

    for name in (*Settings.model_fields, "tickhouse_port_base"):
        monkeypatch.delenv(name.upper(), raising=False)
    settings.ports.cache_clear()


def all_errors(base: type[errors.TickhouseError]) -> list[type[errors.TickhouseError]]:
    ours = [one for one in base.__subclasses__() if one.__module__ == errors.__name__]
    return [base, *(error for one in ours for error in all_errors(one))]


def test_exit_codes() -> None:
    rows = {name: int(code) for code, name, *_ in table_rows(page("exit-codes"), "# Exit codes") if name}

    assert rows == {error.__name__: error.exit_code for error in all_errors(errors.TickhouseError)}


def test_transient_errors_say_that_a_retry_helps() -> None:
    rows = {name: retry for _, name, _, retry in table_rows(page("exit-codes"), "# Exit codes") if name}
    transient = {error.__name__ for error in all_errors(errors.TransientError)}

    assert {name for name, retry in rows.items() if retry == "yes"} == transient


def test_every_setting_in_order() -> None:
    rows = [name for name, *_ in table_rows(page("configuration"), "## Settings")]

    assert rows == [name.upper() for name in Settings.model_fields]


@pytest.mark.usefixtures("plain_environment")
def test_defaults_of_settings() -> None:
    settings = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own argument
    rows = {name: default for name, default, _ in table_rows(page("configuration"), "## Settings")}

    assert rows == {name.upper(): default_text(name, getattr(settings, name)) for name in Settings.model_fields}


def default_text(name: str, value: object) -> str:
    is_generated = name.upper() in GENERATORS
    if isinstance(value, SecretStr):
        return "secret, generated" if is_generated else "secret"
    return "generated" if is_generated else str(value)


@pytest.mark.usefixtures("plain_environment")
def test_addresses_that_may_hold_a_login_are_described() -> None:
    settings = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own argument
    what = {name: text for name, _, text in table_rows(page("configuration"), "## Settings")}

    assert f"`{settings.database_url.get_secret_value()}`" in what["DATABASE_URL"]
    assert f"`{settings.redis_url.get_secret_value()}`" in what["REDIS_URL"]


def test_every_port() -> None:
    document = yaml.safe_load(PORTS_FILE.read_text())
    cells = [cell for row in table_rows(page("configuration"), "## Ports") for cell in row if cell]

    found = {name: int(port) for name, port in zip(cells[::2], cells[1::2], strict=True)}
    assert found == {name: document["base"] + offset for name, offset in document["offsets"].items()}


def test_topics() -> None:
    rows = {row[0]: tuple(row[1:4]) for row in table_rows(page("topics"), "# Topics")}
    topics = yaml.safe_load((REPO / "schemas" / "topics.yaml").read_text())["topics"]

    assert rows == {name: (str(one["partitions"]), kept(one), schema_of(name, one)) for name, one in topics.items()}


def kept(topic: dict[str, Any]) -> str:
    config = topic.get("config", {})
    policy = config.get("cleanup.policy", "delete")
    days = f"{int(config['retention.ms']) // MARKETS_DAY_MS} days" if "delete" in policy else ""
    return ", ".join(filter(None, ("latest of each key" if "compact" in policy else "", days)))


def schema_of(name: str, topic: dict[str, Any]) -> str:
    return str(topic.get("schema", "raw bytes" if name.startswith("dlq.") else "JSON"))


def test_reasons_of_the_streaming_job() -> None:
    source = (REPO / "spark" / "streaming" / "decode.py").read_text()
    in_code = set(re.findall(r'"(empty|bad_magic|unknown_schema_id|undecodable|quote_qty_out_of_range)"\)', source))
    row = next(row for row in table_rows(page("topics"), "## Dead letters") if row[0] == "dlq.spark")

    assert len(in_code) == 5
    assert [reason for reason in in_code if f"`{reason}`" not in row[1]] == []


def test_relations_of_the_migrations() -> None:
    text = "\n".join(path.read_text() for path in (REPO / "stack" / "postgres" / "migrations").glob("*.sql"))
    made = set(re.findall(r"(?:TABLE IF NOT EXISTS|OR REPLACE VIEW) market\.(\w+)", text))
    rows = table_rows(page("tables"), "## PostgreSQL: database `tickhouse`, schema `market`")

    assert {re.sub(r"\W.*", "", row[0]) for row in rows} == made


def test_columns_of_the_candles() -> None:
    text = (REPO / "stack" / "postgres" / "migrations" / "001_market.sql").read_text()
    body = text.split("candles_1m (")[1].split("PRIMARY KEY")[0]
    columns = re.findall(r"^    (\w+) ", body, re.MULTILINE)

    assert [column for column in columns if not re.search(rf"\b{column}\b", page("tables"))] == []


def test_fields_of_the_redis_hash() -> None:
    from decimal import Decimal

    from spark.streaming.redis_sink import LatestTrade

    one = Decimal(1)
    last = LatestTrade("id", 1, one, one, "BUY", 1, 0, ((1, 1),), trades=1, volume=one, quote_volume=one)
    named = {name for row in table_rows(page("tables"), "## Redis") for name in re.findall(r"\w+", row[0])}

    assert named == set(last.to_hash())


def test_metrics_of_the_live_producer() -> None:
    from producer.__main__ import _collector
    from tests.unit.producer.fakes import FakeOutbox, intake_on

    running = MagicMock()
    running.writer.intake = intake_on(FakeOutbox())
    cells = [row[0] for row in table_rows(page("producer"), "## Metrics")]
    named = {f"tickhouse_producer_{name}" for cell in cells for name in re.findall(r"`?(\w+)`?", cell)}

    assert {family.name for family in _collector(running).collect()} == named


def test_options_of_the_live_producer() -> None:
    from producer.__main__ import app

    parameters = {option for one in get_command(app).commands["live"].params for option in one.opts}
    cells = [row[0] for row in table_rows(page("producer"), "# Live producer")]

    assert {option for cell in cells for option in re.findall(r"--[\w-]+", cell)} == parameters - {"--help"}


def names_in(section: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", page("json").split(f"## {section}\n")[1].split("\n## ")[0]))


def test_json_of_status() -> None:
    from stack.engine.service_status import ServiceStatus

    assert {field.name for field in dataclasses.fields(ServiceStatus)} <= names_in("`tickhouse status --json`")


def test_json_of_candles() -> None:
    from tickhouse.candles import CandleBar

    named = names_in("`tickhouse candles --json`")
    assert {field.name for field in dataclasses.fields(CandleBar)} | {"is_simulated"} == named


def test_json_of_reconcile() -> None:
    from tickhouse.checks.reconcile.conservation_law import Gaps, IdLaw, ReconcileReport
    from tickhouse.checks.reconcile.store_result import StoreResult

    report = ReconcileReport(0, 0, 0, Gaps(), IdLaw(0, 0, 0, 0), {"kafka": StoreResult("kafka")}, {}, {}).document()
    verdict = report["stores"]["kafka"]

    assert {*report, *verdict, *report["gaps"]} <= names_in("`tickhouse reconcile --json`")


def test_json_of_the_other_commands() -> None:
    from producer.backfill import BackfilledRange
    from producer.ledger.gaps import Gap
    from tickhouse.connectors.health import ConnectorState, ConnectorTask
    from tickhouse.connectors.plan import ConnectorChange
    from tickhouse.status.doctor import Finding

    ours = (Finding, ConnectorState, ConnectorTask, ConnectorChange)
    wanted = {*Gap.__struct_fields__, *BackfilledRange.__struct_fields__}
    wanted |= {field.name for one in ours for field in dataclasses.fields(one)}
    assert wanted <= names_in("Others")


def test_json_of_replay() -> None:
    from producer.replay import ReplayedFile
    from tickhouse.ingest.replay import file_document

    empty = ReplayedFile("p", "s", "f", "c", 0, 0, {}, {}, [], {}, {}, is_whole=True, seconds=0.0)
    assert {*file_document(empty), "files", "visible_after_s"} <= names_in("`tickhouse replay --json`")
