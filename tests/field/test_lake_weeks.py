"""Weeks of the lake: a commit and a night do as much work on late days as on early ones, by counts.

Reported: the stand-in's metadata grew by 0.55 GB on the first day and by 4.2 GB on the seventh,
because each commit rewrote one flat folder of manifests, and the nightly run read every manifest
ever written.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from bench.weeks_lake import LakeSchedule, LakeSimulation
from common.clients.lake_manifest_paths import MANIFESTS
from common.clients.lake_manifests import has_later
from common.days import Days
from spark.batch.bronze import bronze_of
from spark.batch.files import LakeFiles
from spark.lake_target import LakeTarget
from spark.streaming.lake_sink import manifest, put_manifest, write_files
from tests.shared_files import field_file

# A thirtieth of a real day's batches in the same folders; bench/weeks_lake.py makes them all.
PLAN = LakeSchedule(batch_s=300, commit_s=900)


@pytest.fixture
def weeks(tmp_path: Path) -> Iterator[LakeSimulation]:
    made = LakeSimulation(tmp_path, PLAN, keep_bronze=6, history_days=3)
    yield made
    made.lake.service.close()


def test_a_commit_and_a_night_cost_the_same_on_the_first_and_the_twentieth_day(weeks: LakeSimulation) -> None:
    first = weeks.day(1)
    for number in range(2, 20):
        weeks.day(number, thin=24, is_measured=False)
    last = weeks.day(20)

    assert last.commits == first.commits
    assert last.night_reads == first.night_reads
    assert last.commit_bytes <= 1.3 * first.commit_bytes
    assert last.commit_metadata <= 1.3 * first.commit_metadata


def test_metadata_stays_flat_once_old_days_are_removed(weeks: LakeSimulation) -> None:
    kept = [weeks.day(number, thin=24, is_measured=number > 10) for number in range(1, 21)]
    objects = [day.objects for day in kept]

    assert max(objects[-5:]) <= 1.1 * objects[14]
    assert max(day.kept_bytes for day in kept[-5:]) <= 1.2 * kept[14].kept_bytes


class Folder:
    """A folder with the method of the S3 client that the sink uses."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: list[str] = []

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:
        path = Key.removeprefix("ingest/")
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(Body)
        self.written.append(path)


def sink(folder: Folder, times: list[datetime], monkeypatch: pytest.MonkeyPatch, first: int = 0) -> None:
    """Write one batch of trades by the sink's own functions."""
    target = LakeTarget("", "", "", "lake", "ingest", "trades", "crypto.trades", ("trade_time",))
    monkeypatch.setattr(LakeTarget, "client", lambda _: folder)
    rows = pa.table(
        {
            "event_id": [f"e{first + number}" for number in range(len(times))],
            "trade_time": pa.array(times, pa.timestamp("us", "UTC")),
            "kafka_partition": pa.array([0] * len(times), pa.int32()),
            "kafka_offset": pa.array(range(first, first + len(times)), pa.int64()),
            "is_good": [True] * len(times),
        }
    )
    files = [one for batch in write_files(target)(iter(rows.to_batches())) for one in batch.to_pylist()]
    put_manifest(target, folder, 0, manifest(target, 0, files))


def check_days(folder: Folder, days: list[date]) -> None:
    lake = LakeFiles.local(folder.root)
    for day in (days[0], days[len(days) // 2], days[-1]):
        found = bronze_of(lake, Days(day, day))
        assert [one.date for one in found.files] == [day]
        assert found.problems == ()
    whole = bronze_of(lake, Days(days[0], days[-1]))
    assert [one.date for one in whole.files] == days
    assert whole.is_newest
    assert has_later(lake, "trades", days[-1] - timedelta(days=1))


def test_1100_days_in_one_batch_write_a_file_per_day_and_few_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [date(2021, 1, 1) + timedelta(days=number) for number in range(1_100)]
    folder = Folder(tmp_path)
    sink(folder, [datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in days], monkeypatch)

    assert sum(MANIFESTS in path for path in folder.written) <= 40
    assert len(folder.written) <= 1_140
    assert MANIFESTS in folder.written[-1]

    check_days(folder, days)


def test_a_real_file_of_1100_days_writes_few_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with field_file("XRPETH-aggTrades-1100days.csv").open() as lines:
        times = [datetime.fromtimestamp(int(row[5]) / 1000, UTC) for row in csv.reader(lines) if row[0].isdigit()]
    folder = Folder(tmp_path)
    sink(folder, times, monkeypatch)

    assert sum(MANIFESTS in path for path in folder.written) <= 40

    check_days(folder, sorted({moment.date() for moment in times}))


def test_a_lost_checkpoint_makes_no_second_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same offsets come again in other ranges: two manifests, one row per record."""
    import pyarrow.parquet as pq

    from common.clients.lake_manifests import overlapping
    from tickhouse.lake.table_query import without_repeats

    noon = datetime(2024, 8, 8, 12, tzinfo=UTC)
    times = [noon + timedelta(seconds=number) for number in range(100)]
    folder = Folder(tmp_path)
    sink(folder, times[:60], monkeypatch)
    sink(folder, times, monkeypatch)
    paths = [one.path for one in bronze_of(LakeFiles.local(tmp_path), Days(noon.date(), noon.date())).files]

    assert len(paths) == 2
    assert overlapping(paths) == set(paths)

    rows = without_repeats(pa.concat_tables([pq.read_table(tmp_path / path) for path in paths]))
    assert sorted(rows["kafka_offset"].to_pylist()) == list(range(100))
