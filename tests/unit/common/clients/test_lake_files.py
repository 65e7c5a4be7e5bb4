"""A lake in a folder, read as a ref."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem

from common.clients.lake_files import MOST_NOTES, BronzeListing, RefFiles
from common.clients.lake_manifests import Problem
from common.days import Days
from tests.lakes import THE_8TH, THE_9TH, bronze_files, market, rows_of, write


@pytest.fixture
def lake(tmp_path: Path) -> RefFiles:
    write(tmp_path, bronze_files(rows_of(market())))
    write(tmp_path, {f"bronze/_forgotten/trades/date={THE_8TH}.json": b"{}"})
    return RefFiles(LocalFileSystem(), str(tmp_path))


def test_manifests_name_files_with_their_rows(lake: RefFiles) -> None:
    bronze = lake.bronze("trades", Days(THE_9TH, THE_9TH))

    assert [lake.row_count(one.path) for one in bronze.files] == [one.rows for one in bronze.files]
    assert sum(one.rows for one in bronze.files) == sum(bronze.manifests.values()) == len(market())
    assert {one.manifest for one in bronze.files} == bronze.manifests.keys()
    assert (bronze.topic, bronze.problems, bronze.forgotten) == ("crypto.trades", [], {THE_8TH})
    assert [lake.manifest_rows(path) for path in bronze.manifests] == [len(market())]
    assert lake.bronze("trades", Days(date(2020, 1, 1), date(2020, 1, 1))).files == []


def test_a_file_by_its_columns(lake: RefFiles) -> None:
    path = lake.parquet_files(f"bronze/trades/date={THE_9TH}")[0]
    table = lake.table(path, ["event_id"])

    assert table is not None
    assert table.column_names == ["event_id"]
    assert table.num_rows == lake.row_count(path)


def test_missing_objects_are_empty_or_none(lake: RefFiles) -> None:
    assert lake.parquet_files("gold/none") == lake.children("gold/none") == []
    assert lake.table("none.parquet") is None
    assert lake.row_count("none.parquet") is None
    assert lake.manifest_rows("bronze/_manifests/trades/0.json") is None


def test_names_below_a_folder(lake: RefFiles) -> None:
    assert lake.children("bronze/trades") == [f"date={THE_8TH}/", f"date={THE_9TH}/"]


def test_notes_are_a_bounded_number_of_lines() -> None:
    problems = [Problem(f"path {number}", "stray", "d") for number in range(MOST_NOTES + 5)]
    notes = BronzeListing(problems=problems).notes()

    assert notes[0] == "path 0: stray: d"
    assert notes[-1] == "5 more problems with manifests"
    assert len(notes) == MOST_NOTES + 1
