"""Manifests by event day, on a lake in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clients.lake_manifest_paths import MANIFESTS, placement
from common.clients.lake_manifests import (
    Manifest,
    Problem,
    has_later,
    overlapping,
    parse,
    present_files,
    read_manifests,
)
from common.days import Days
from spark.batch.bronze import bronze_of
from spark.batch.files import LakeFiles
from spark.lake_target import LakeTarget
from spark.streaming.lake_sink import manifest, put_manifest

TARGET = LakeTarget("", "", "", "lake", "ingest", "trades", "crypto.trades", ("trade_time",))
FIRST = date(2024, 8, 8)
THE_DAY = Days(FIRST, FIRST)


class Folder:
    """Replaces the S3 client; a test can let it fail before a given object is written."""

    def __init__(self, root: Path, dies_before: str = "") -> None:
        self.root = root
        self.dies_before = dies_before
        self.written: list[str] = []

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:
        path = Key.removeprefix("ingest/")
        if self.dies_before and self.dies_before in path:
            raise ConnectionError(path)
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(Body)
        self.written.append(path)


def hours(*days: date, hour: int = 12) -> list[int]:
    return [(day - date(1970, 1, 1)).days * 24 + hour for day in days]


def batch(folder: Folder, number: int, event_hours: Iterable[int], first: int = 0, until: int = 10) -> dict[str, Any]:
    """Write a batch as the sink does: files, pointers, manifest."""
    entries = []
    for hour in event_hours:
        path = TARGET.data_path(hour, 0, first, until)
        folder.put_object(Bucket="lake", Key=f"ingest/{path}", Body=b"x")
        entries.append(
            {
                "path": path,
                "rows": 1,
                "bad_rows": 0,
                "bytes": 1,
                "partition": 0,
                "first_offset": first,
                "next_offset": until,
            }
        )
    document = manifest(TARGET, number, entries)
    put_manifest(TARGET, folder, number, document)
    return document


def lake(folder: Folder) -> LakeFiles:
    return LakeFiles.local(folder.root)


def test_a_batch_of_one_day_is_one_manifest(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    batch(folder, 7, hours(FIRST))
    (written,) = [path for path in folder.written if MANIFESTS in path]
    assert written.startswith(f"{MANIFESTS}/trades/date=2024-08-08/hour=12/000000000007-")


def test_a_batch_over_midnight_has_a_pointer_in_the_older_day(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    batch(folder, 7, hours(FIRST, hour=23) + hours(FIRST + timedelta(1), hour=0))
    pointer, written = (path for path in folder.written if MANIFESTS in path)
    assert "date=2024-08-08/hour=23" in pointer
    assert pointer.endswith(".pointer.json")
    assert "date=2024-08-09/hour=00" in written
    for day in (FIRST, FIRST + timedelta(1)):
        found = read_manifests(lake(folder), "trades", Days(day, day))
        assert ([one.path for one in found.manifests], found.problems) == ([written], ())
        assert [one.date for one in found.files(Days(day, day))] == [day]


def test_eleven_hundred_days_in_one_batch_cost_a_pointer_per_month(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    days = [FIRST + timedelta(number) for number in range(1_100)]
    batch(folder, 1, hours(*days))
    pointers = [path for path in folder.written if path.endswith(".pointer.json")]
    assert len(pointers) == 37
    assert len({*pointers}) == 37
    assert len(folder.written) == 1_100 + 37 + 1
    for day in (days[0], days[500], days[-1]):
        assert [one.date for one in bronze_of(lake(folder), Days(day, day)).files] == [day]
    assert not has_later(lake(folder), "trades", days[-1])
    assert has_later(lake(folder), "trades", days[-2])


@pytest.mark.parametrize(
    "dies_before", ["date=2024-08-09/hour=12/crypto", ".pointer.json", f"{MANIFESTS}/trades/date=2024-08-10"]
)
def test_a_batch_that_dies_counts_for_nothing_and_its_repeat_for_all(tmp_path: Path, dies_before: str) -> None:
    days = [FIRST, FIRST + timedelta(1), FIRST + timedelta(2)]
    dying = Folder(tmp_path, dies_before)
    with pytest.raises(ConnectionError):
        batch(dying, 1, hours(*days))
    for day in days:
        found = read_manifests(lake(dying), "trades", Days(day, day))
        assert found.manifests == ()
        assert {one.kind for one in found.problems} <= {"unfinished"}
    batch(Folder(tmp_path), 1, hours(*days))
    found = read_manifests(lake(dying), "trades")
    assert [one.date for one in found.files()] == days
    assert found.problems == ()


def test_a_batch_without_a_good_row_has_a_manifest_that_no_day_reads(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    bad = {"path": "", "rows": 0, "bad_rows": 3, "bytes": 0, "partition": 1, "first_offset": 5, "next_offset": 8}
    put_manifest(TARGET, folder, 2_345, manifest(TARGET, 2_345, [bad]))
    assert folder.written[0].startswith(f"{MANIFESTS}/trades/undated/2/000000002345-")
    assert read_manifests(lake(folder), "trades", THE_DAY).manifests == ()
    assert read_manifests(lake(folder), "trades").manifests[0].ranges == {"1": (5, 8)}


def test_a_batch_job_reads_only_the_manifests_of_its_days(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(40):
        for hour in range(3):
            batch(folder, number * 3 + hour, hours(FIRST + timedelta(number), hour=hour), number, number + 1)
    read: list[str] = []

    class Counting(LakeFiles):
        def read_optional(self, path: str) -> bytes | None:
            read.append(path)
            return super().read_optional(path)

    day = FIRST + timedelta(20)
    found = read_manifests(Counting("", "", "", str(tmp_path)), "trades", Days(day, day))
    assert len(found.manifests) == len(read) == 3


def test_the_old_flat_layout_is_read_and_a_manifest_in_both_counts_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    document = batch(folder, 7, hours(FIRST))
    (written,) = [path for path in folder.written if MANIFESTS in path]
    flat = tmp_path / MANIFESTS / "trades" / written.rpartition("/")[2]
    flat.write_text(json.dumps(document))
    assert len(read_manifests(lake(folder), "trades", THE_DAY).manifests) == 1
    (tmp_path / written).unlink()
    found = read_manifests(lake(folder), "trades", THE_DAY)
    assert [one.path for one in found.manifests] == [f"{MANIFESTS}/trades/{flat.name}"]
    assert read_manifests(lake(folder), "trades", Days(FIRST + timedelta(1), FIRST + timedelta(1))).manifests == ()


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("trades/date=2024-08-08/hour=12/000000000001-a.json", "", "empty"),
        ("trades/date=2024-08-08/hour=12/000000000001-a.json", " \n", "empty"),
        ("trades/date=2024-08-08/hour=12/000000000001-a.json", "{", "broken"),
        ("trades/date=2024-08-08/hour=12/000000000001-a.json", "\x00\xff", "broken"),
        ("trades/date=2024-08-08/hour=12/000000000001-a.json", "null", "broken"),
        ("trades/date=2024-08-08/hour=12/000000000001-a.json", '{"files": []}', "broken"),
        ("trades/date=2024-08-08/hour=12/000000000001-a.pointer.json", "{}", "broken"),
        ("trades/date=2024-08-08/hour=12/000000000001-a.pointer.json", "", "empty"),
        ("trades/date=2024-08-08/hour=12/000000000001-a.pointer.json", '{"manifest": "../secrets"}', "broken"),
        ("trades/date=2024-08-08/hour=12/copy of 1.json", "{}", "stray"),
        ("trades/date=2024-08-08/.DS_Store", "", "stray"),
        ("trades/000000000001-a.json", "{", "broken"),
        ("trades/notes.txt", "hello", "stray"),
        ("trades/date=2024-8-8/1.json", "{}", "stray"),
        ("README", "hello", "stray"),
        ("candles/1.json", "{}", "stray"),
    ],
)
def test_a_bad_manifest_is_reported_and_reading_continues(tmp_path: Path, path: str, body: str, kind: str) -> None:
    folder = Folder(tmp_path)
    batch(folder, 7, hours(FIRST))
    bad = tmp_path / MANIFESTS / path
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_bytes(body.encode("latin-1"))
    bronze = bronze_of(lake(folder), THE_DAY)
    assert [one.kind for one in bronze.problems] == [kind]
    assert [one.date for one in bronze.files] == [FIRST]


def test_a_named_file_that_is_missing_is_reported_and_left_out(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    batch(folder, 7, hours(FIRST), 0, 10)
    batch(folder, 8, hours(FIRST), 10, 20)
    lost = tmp_path / TARGET.data_path(hours(FIRST)[0], 0, 0, 10)
    lost.unlink()
    found = read_manifests(lake(folder), "trades", THE_DAY)
    present, problems = present_files(lake(folder), "trades", found, THE_DAY)
    assert [one.path for one in present] == [TARGET.data_path(hours(FIRST)[0], 0, 10, 20)]
    assert [(one.kind, one.path) for one in problems] == [("missing_file", str(lost.relative_to(tmp_path)))]


FIELDS = st.sampled_from(["topic", "rows", "files", "ranges", "path"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner),
)


@given(st.binary(max_size=200) | DOCUMENTS.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_manifest_or_a_problem(body: bytes) -> None:
    assert isinstance(parse(f"{MANIFESTS}/trades/1.json", body), Manifest | Problem)


@given(st.sets(st.dates(date(2019, 1, 1), date(2024, 12, 31)), min_size=1, max_size=60))
def test_every_day_of_a_batch_leads_to_its_manifest(days: set[date]) -> None:
    places = placement("trades", "000000000001-a.json", [TARGET.data_path(hour, 0, 0, 1) for hour in hours(*days)])
    folders = {path.split("/")[3] for path in (places.manifest, *places.pointers)}
    assert all(f"date={day}" in folders or f"month={day:%Y-%m}" in folders for day in days)
    assert f"date={max(days)}" in places.manifest


def test_only_files_that_share_offsets_of_a_partition_and_an_hour_overlap() -> None:
    def path(hour: int, partition: int, first: int, until: int) -> str:
        return TARGET.data_path(hour, partition, first, until)

    shared = {path(1, 0, 0, 10), path(1, 0, 5, 15), path(1, 0, 2, 3)}
    alone = [
        path(1, 0, 15, 20),
        path(1, 1, 0, 10),
        path(2, 0, 0, 10),
        "bronze/trades/date=2024-08-08/hour=07/x.parquet",
    ]
    assert overlapping([*alone, *shared]) == shared
