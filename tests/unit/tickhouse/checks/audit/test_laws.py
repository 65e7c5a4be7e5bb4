"""Laws over small lakes: an empty lake, inconsistent files, and the rows of commits."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem

from common.clients.lake_files import BronzeListing, RefFiles
from common.days import Days
from tests.lakes import bronze_files, market, rows_of, write
from tickhouse.checks.audit.commit_metadata import commit_rows
from tickhouse.checks.audit.great_expectations_run import checkpoint, run_checkpoint
from tickhouse.checks.audit.lake_views import CommitRows, LakeViews
from tickhouse.checks.audit.laws import law_tables
from tickhouse.checks.audit.run import lake_laws

DAYS = Days(date(2024, 8, 8), date(2024, 8, 9))


def tables_of(folder: Path, commits: list[CommitRows] | None = None):
    lake = RefFiles(LocalFileSystem(), str(folder))
    return lake_laws(lake, DAYS, lake.bronze("trades"), commits or [])


def test_an_empty_lake_has_no_rows_to_check(tmp_path: Path) -> None:
    tables = tables_of(tmp_path)
    assert sorted(tables) == sorted(checkpoint("lake"))
    assert {name for name, frame in tables.items() if len(frame)} == {"freshness"}


def test_bronze_without_silver_and_gold_breaks_the_laws_about_them(tmp_path: Path) -> None:
    files = bronze_files(rows_of(market()))
    write(tmp_path, files)
    lost = next(path for path in files if "hour=23" in path)
    (tmp_path / lost).unlink()
    commits = [CommitRows("crypto.trades", 10, 9, 1)]
    outcomes = run_checkpoint(tables_of(tmp_path, commits), "test", tmp_path / "site")
    broken = [one for one in outcomes if one.is_broken]

    laws = {(one.suite, one.law) for one in broken}
    assert ("bronze_files", "a file holds the rows that its manifest says") in laws
    assert ("silver", "every event of bronze is in silver, and no other") in laws
    assert ("candles", "there are candles") in laws
    assert ("freshness", "candles reach as far as trades") in laws
    assert ("commits", "every manifest that a commit names is there") in laws
    assert not [one for one in broken if one.suite == "bronze"]


def test_a_law_that_cannot_be_computed_is_broken_and_shows_the_error(tmp_path: Path) -> None:
    write(tmp_path, bronze_files(rows_of(market())))
    lake = RefFiles(LocalFileSystem(), str(tmp_path))
    views = LakeViews(lake, DAYS, tmp_path)
    views.open(lake.bronze("trades"), [])
    views.connection.execute("DROP VIEW candles_5m")
    tables = law_tables(views.connection, ["candles"])
    outcomes = run_checkpoint(tables, "test", tmp_path / "site")

    assert "candles_5m" in tables["candles"]["error"][0]
    assert {(one.outcome, one.is_broken) for one in outcomes} == {("failed", True)}


def manifests(table: str, *numbers: int) -> dict[str, int]:
    return {f"bronze/_manifests/{table}/{number}.json": 10 for number in numbers}


@pytest.mark.parametrize(
    ("there", "wanted"),
    [((0, 1), CommitRows("crypto.trades", 20, 20, 0)), ((0,), CommitRows("crypto.trades", 20, 10, 1))],
)
def test_rows_of_commits_against_the_manifests_they_name(there: tuple[int, ...], wanted: CommitRows) -> None:
    metadata = [
        {"rows": '{"crypto.trades":10}', "manifests": '["bronze/_manifests/trades/0.json"]'},
        {"rows": '{"crypto.trades":10}', "manifests": '["bronze/_manifests/trades/1.json"]'},
        {"audit.ok": "true"},
    ]
    bronze = {"trades": BronzeListing(manifests=manifests("trades", *there, 7)), "ticks": BronzeListing()}
    assert commit_rows(metadata, bronze) == [wanted]
