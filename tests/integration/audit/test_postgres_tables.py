"""Audit the tables that the DAG's loader filled in PostgreSQL against gold in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import sql
from pyarrow.fs import LocalFileSystem

from common.clients.lake_files import RefFiles
from common.settings import Settings
from tests.conftest import Stack
from tickhouse.checks.audit.great_expectations_run import run_checkpoint
from tickhouse.checks.audit.postgres_tables import postgres_laws
from tickhouse.dag_tasks import daily_tables

pytestmark = pytest.mark.integration

COMMIT = "c" * 64
VOLATILITY = pa.schema(
    [
        ("market", pa.string()),
        ("symbol", pa.string()),
        ("open_time", pa.timestamp("us", "UTC")),
        ("returns", pa.int64()),
        ("variance", pa.decimal128(38, 24)),
        ("volatility", pa.decimal128(38, 12)),
        ("span", pa.decimal128(38, 8)),
    ]
)


def row_of(symbol: str, day: int) -> dict[str, Any]:
    figures = {"variance": Decimal("0.000000000000000000000001"), "volatility": Decimal("0.25"), "span": None}
    opened = datetime(2024, 8, day, tzinfo=UTC)
    return {"market": "spot", "symbol": symbol, "open_time": opened, "returns": 1439, **figures}


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up("postgres")


@pytest.fixture
def gold(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A ref in a folder, with two days of gold/volatility and no other table."""
    for day in (8, 9):
        folder = tmp_path / "gold" / "volatility" / f"date={date(2024, 8, day)}"
        folder.mkdir(parents=True)
        rows = [row_of(symbol, day) for symbol in ("BTCUSDT", "ETHUSDT")]
        pq.write_table(pa.Table.from_pylist(rows, VOLATILITY), folder / "part-0.parquet")
    monkeypatch.setattr(RefFiles, "connect", lambda *_: RefFiles(LocalFileSystem(), str(tmp_path)))
    monkeypatch.setattr(daily_tables, "head", lambda *_: COMMIT)
    empty_tables(settings)
    yield tmp_path
    empty_tables(settings)


def empty_tables(settings: Settings) -> None:
    """Remove what this test, or another one, has loaded."""
    with psycopg.connect(settings.database_dsn("batch")) as connection:
        for table in (*daily_tables.TABLES, "source"):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("gold", table)))


def broken_laws(settings: Settings, site: Path, commit_id: str = COMMIT) -> set[str]:
    outcomes = run_checkpoint(postgres_laws(settings, commit_id), "test", site / "site")
    return {one.law for one in outcomes if one.is_broken}


def test_tables_as_loaded_pass(settings: Settings, gold: Path) -> None:
    changed = daily_tables.load(settings, "main")

    assert changed["volatility"] == 4
    assert broken_laws(settings, gold) == set()


@pytest.mark.usefixtures("gold")
def test_rows_that_the_loader_does_not_read_are_reported(
    settings: Settings, gold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = RefFiles.table
    with monkeypatch.context() as patched:
        patched.setattr(RefFiles, "table", lambda *arguments: whole(*arguments).slice(1))
        assert daily_tables.load(settings, "main")["volatility"] == 2

    assert broken_laws(settings, gold) == {"a table holds as many rows as gold", "every value equals gold's"}


def test_a_partition_that_the_loader_does_not_list_is_reported(
    settings: Settings, gold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_table = daily_tables.read_table
    with monkeypatch.context() as patched:
        patched.setattr(daily_tables, "read_table", lambda *arguments: _first_half(read_table(*arguments)))
        daily_tables.load(settings, "main")

    assert "a table holds as many rows as gold" in broken_laws(settings, gold)


def _first_half(rows: pa.Table | None) -> pa.Table | None:
    return None if rows is None else rows.slice(0, len(rows) // 2)


def test_a_value_that_differs_and_another_commit_are_found(settings: Settings, gold: Path) -> None:
    daily_tables.load(settings, "main")
    with psycopg.connect(settings.database_dsn("batch")) as connection:
        connection.execute("UPDATE gold.volatility SET volatility = 0.250000000001 WHERE symbol = 'BTCUSDT'")

    assert broken_laws(settings, gold, "d" * 64) == {
        "every value equals gold's",
        "the tables were loaded from this commit",
    }
