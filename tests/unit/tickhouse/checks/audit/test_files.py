"""Laws, suites, checkpoints and tables are consistent with each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spark.batch.candles import CANDLE
from spark.batch.job import VOLATILITY
from spark.batch.silver import SILVER
from tickhouse.checks.audit.great_expectations_run import checkpoint, suite
from tickhouse.checks.audit.lake_views import EXPECTATIONS, wanted_tables
from tickhouse.checks.audit.laws import law_names

CHECKPOINTS = [path.stem for path in sorted((EXPECTATIONS / "checkpoints").glob("*.json"))]
NAMES = [name for one in CHECKPOINTS for name in checkpoint(one)]
# Computed from PostgreSQL and the lake together, in Python.
WITHOUT_SQL = {"postgres"}


def test_every_law_has_a_suite_and_is_checked() -> None:
    suites = {path.stem for path in (EXPECTATIONS / "suites").glob("*.json")}
    assert sorted(NAMES) == sorted(suites) == sorted({*law_names(), *WITHOUT_SQL})


@pytest.mark.parametrize("name", NAMES)
def test_every_expectation_describes_its_law_and_requires_a_row(name: str) -> None:
    document = suite(name)
    laws = [one["description"] for one in document["expectations"]]
    assert document["name"] == name
    assert len(set(laws)) == len(laws)
    if name not in {"commits", "freshness"}:
        assert any(one["type"] == "expect_table_row_count_to_be_between" for one in document["expectations"])


@pytest.mark.parametrize("name", sorted({*NAMES} - WITHOUT_SQL))
def test_columns_of_a_suite_are_columns_of_its_law(name: str) -> None:
    text = (EXPECTATIONS / "laws" / f"{name}.sql").read_text()
    text += "".join(path.read_text() for path in (EXPECTATIONS / "summaries").glob("*.sql"))
    columns = {
        value
        for one in suite(name)["expectations"]
        for key, value in one["kwargs"].items()
        if key in ("column", "column_A", "column_B")
    }
    assert [column for column in columns if column not in text] == []


def duckdb_type(kind: str) -> str:
    names = {"string": "VARCHAR", "timestamp": "TIMESTAMP WITH TIME ZONE", "int": "INTEGER"}
    return names.get(kind, kind.upper())


@pytest.mark.parametrize(
    ("table", "columns"),
    [("silver", SILVER), ("volatility", VOLATILITY), *((f"candles_{i}", CANDLE) for i in ("1m", "5m", "1h", "1d"))],
)
def test_tables_are_those_that_the_batch_writes(table: str, columns: dict[str, str]) -> None:
    assert wanted_tables()[table]["columns"] == {name: duckdb_type(kind) for name, kind in columns.items()}


def test_documents_are_plain_json() -> None:
    for path in Path(EXPECTATIONS).rglob("*.json"):
        assert json.loads(path.read_text())["name"] == path.stem
