"""Simulated weeks of the lake: the cost of a commit and of a night on days 1, 30 and 90.

    python -m bench.weeks_lake --days 90 --keep-bronze 30

The parts of the lakeFS stand-in run without a server and without Spark, on a simulated clock.
Paths, manifests, pointers and their order come from the sink (`lake_sink`). The schedule is that of
the stack: every ten seconds a batch for each of the two tables, one file per partition, and a
commit every two minutes. Data files are not written, because metadata is measured.

The days between the measured ones have fewer batches (`--sparse`) and fewer commits (`--thin`): the
cost of a commit and of a night depends on the number of days, not on the content of other days.
`--thin 1 --sparse 1` makes all days alike; use it to measure the bytes that are kept per day.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from common.clients.lake_manifest_paths import MANIFESTS, is_manifest
from common.clients.lake_manifests import Manifest, parse, present_files, read_manifests
from common.days import ONE_DAY, Days
from common.topics import TICKS, TRADES
from spark.lake_target import LakeTarget
from spark.streaming.lake_sink import manifest, put_manifest
from standins.lakefs.blocks import LocalBlocks
from standins.lakefs.entries import Entry
from standins.lakefs.git_store import BLOB, object_id
from standins.lakefs.model import Repository
from standins.lakefs.references import NewCommit
from standins.lakefs.service import KeyPair, LakeFsStandIn
from tickhouse.lake.ingest_commit import metadata_of, summarise

FIRST = date(2026, 1, 1)
TABLES = {"trades": TRADES, "ticks": TICKS}
HOUR_S, DAY_S = 3600, 86_400
COLLECT_DAYS = 10


@dataclass(frozen=True)
class LakeSchedule:
    """The schedule of a day.

    Attributes:
        partitions: Partitions per topic, and so files per batch.
        batch_s: Seconds between batches.
        commit_s: Seconds between commits.
        rows: Rows per file.
    """

    partitions: int = 3
    batch_s: int = 10
    commit_s: int = 120
    rows: int = 100


@dataclass
class DayCost:
    """The cost of one day.

    Attributes:
        commit_cpu_ms: CPU time of its commits, median, from the listing of new manifests to the
            moved head.
        commit_bytes: Bytes of trees and commits that a commit wrote, mean.
        commit_metadata: Bytes of the largest metadata of a commit.
        night_cpu_ms: CPU time of reading the day's manifests and listing its files, as the nightly
            batch does.
        collect_cpu_s: CPU time of a garbage collection at its end.
        night_reads: Manifests and pointers that the night read.
        added_bytes: What the day added to the metadata file, before retention.
        kept_bytes: Size of the metadata file at the end of the day, without free pages.
        objects: Rows of trees and pointers.
    """

    day: int
    commits: int = 0
    commit_cpu_ms: float = 0.0
    commit_bytes: int = 0
    commit_metadata: int = 0
    night_cpu_ms: float = 0.0
    night_reads: int = 0
    collect_cpu_s: float = 0.0
    added_bytes: int = 0
    kept_bytes: int = 0
    objects: int = 0


class SimulatedClock:
    """The simulated time, in seconds since 1970."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass
class SimulatedLake:
    """The stand-in's parts over a folder: an S3 client for the sink, `Objects` for the readers."""

    folder: Path
    clock: SimulatedClock
    branch: str = "ingest"
    reads: int = 0
    _staged: list[tuple[str, bytes | None]] = field(default_factory=list)
    _bodies: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.service = LakeFsStandIn(self.folder, lambda: LocalBlocks(self.folder), KeyPair("key", "secret"))
        self.service.core.clock = self.clock
        self.service.core.database._writer.execute("PRAGMA synchronous=OFF")
        repository = Repository("lake", "local://lake", "main", int(self.clock()), False, {}, ())
        self.service.references.create_repository(repository, "bench")
        self.service.references.create_branch(repository, self.branch, "main")

    # -- the sink's client --

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:
        """Stage an object; the bodies of manifests are kept in memory."""
        path = Key.partition("/")[2]
        if path.startswith(MANIFESTS):
            self._bodies[path] = Body
        entry = Entry(f"local://lake/data/{len(path) % 256:02x}/{hash(path) & (2**128 - 1):032x}", len(Body) or 8_000,
                      f"{hash(Key) & (2**128 - 1):032x}", int(self.clock()))  # fmt: skip
        self._staged.append((path, entry.dump()))

    def remove(self, paths: list[str]) -> None:
        """Stage removals."""
        self._staged += [(path, None) for path in paths]

    def drop_bodies(self) -> None:
        """Drop the bodies of manifests; a night reads only those of its own day."""
        self._bodies.clear()

    def flush(self) -> None:
        """Write everything that is staged in one transaction."""
        database = self.service.core.database
        branch = self.service.references.branch("lake", self.branch)
        with database.write() as connection:
            for path, data in self._staged:
                oid = None if data is None else object_id(BLOB, data)
                if data is not None:
                    connection.execute("INSERT OR IGNORE INTO objects VALUES (?, ?, ?)", (oid, BLOB, data))
                row = (branch.id, path, oid, database.next_seq())
                connection.execute("INSERT OR REPLACE INTO staging VALUES (?, ?, ?, ?)", row)
        self._staged.clear()

    # -- the readers' objects --

    def children(self, folder: str) -> list[str]:
        """Return the names directly below a folder."""
        return [path.removeprefix(f"{folder}/") for path in self._list(f"{folder}/", "/")]

    def listing(self, folder: str) -> list[str]:
        """Return the paths of all objects below a folder."""
        return list(self._list(f"{folder}/", ""))

    def _list(self, prefix: str, delimiter: str) -> Iterator[str]:
        after, has_more = "", True
        while has_more:
            rows, has_more = self.service.objects.listing(
                "lake", self.branch, prefix=prefix, after=after, delimiter=delimiter
            )
            yield from (row.path for row in rows)
            after = rows[-1].path if rows else ""

    def read_optional(self, path: str) -> bytes | None:
        """Return a manifest."""
        self.reads += 1
        return self._bodies.get(path)

    # -- what the DAGs do --

    def commit(self) -> dict[str, str]:
        """Commit as DAG `lake_commit` does, with the new manifests' names; return the metadata."""
        changes = self.service.objects.uncommitted("lake", self.branch, prefix=f"{MANIFESTS}/")
        paths = [change.path for change in changes if change.old is None and is_manifest(change.path)]
        parsed = [parse(path, self._bodies[path]) for path in paths]
        summary = summarise({manifest.path: manifest for manifest in parsed if isinstance(manifest, Manifest)})
        metadata = metadata_of(summary)
        new = NewCommit("Ingest", "bench", metadata, int(self.clock()))
        self.service.history.commit("lake", self.branch, new, allow_empty=True)
        return metadata

    def kept(self) -> tuple[int, int]:
        """Return the used bytes of the metadata file, and its rows of trees and pointers."""
        reader = self.service.core.database.reader()
        pages, free, size = (
            reader.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size, int(reader.execute("SELECT count(*) FROM objects").fetchone()[0])

    def history_bytes(self) -> int:
        """Return the bytes of trees and commits written since the last call."""
        reader = self.service.core.database.reader()
        query = "SELECT coalesce(sum(length(data)), 0) FROM objects WHERE rowid > ? AND type <> ?"
        newest = int(reader.execute("SELECT coalesce(max(rowid), 0) FROM objects").fetchone()[0])
        written = int(reader.execute(query, (getattr(self, "_counted", 0), BLOB)).fetchone()[0])
        self._counted = newest
        return written


class LakeSimulation:
    """The simulation.

    Args:
        folder: Where the stand-in's files go.
        plan: The schedule.
        keep_bronze: Days after which a day of bronze is removed; 0 keeps all.
        history_days: Days that deleted objects are kept.
    """

    def __init__(self, folder: Path, plan: LakeSchedule, *, keep_bronze: int = 30, history_days: int = 14) -> None:
        self._plan = plan
        self._keep = keep_bronze
        self.clock = SimulatedClock(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC).timestamp())
        self.lake = SimulatedLake(folder, self.clock)
        rules = {"default_retention_days": history_days, "branches": []}
        self.lake.service.references.set_gc_rules("lake", rules)
        self._batch = 0

    def day(self, number: int, *, thin: int = 1, sparse: int = 1, is_measured: bool = True) -> DayCost:
        """Simulate day `number` (from 1 on) and return its cost.

        Makes one commit in `thin` and one batch in `sparse`. The night is read on measured days
        only; garbage is collected on these and on every tenth day.
        """
        day, started = DayCost(number), self.clock.now
        step = self._plan.commit_s * thin
        times, written, longest = [], [], 0
        self.lake.history_bytes()
        day.added_bytes = -self.lake.kept()[0]
        for at in range(0, DAY_S, step):
            for second in range(at, min(at + step, DAY_S), self._plan.batch_s * sparse):
                self.clock.now = started + second
                self._write_batch()
            self.lake.flush()
            before = time.process_time()
            metadata = self.lake.commit()
            times.append((time.process_time() - before) * 1000)
            written.append(self.lake.history_bytes())
            longest = max(longest, sum(map(len, metadata.values())))
        day.commits, day.commit_metadata = len(times), longest
        day.commit_cpu_ms, day.commit_bytes = statistics.median(times), int(statistics.mean(written))
        self.clock.now = started + DAY_S
        day.added_bytes += self.lake.kept()[0]
        if is_measured:
            self._night(day)
        self._retention(number)
        self.lake.drop_bodies()
        if is_measured or number % COLLECT_DAYS == 0:
            before = time.process_time()
            self.lake.service.collector.collect()
            day.collect_cpu_s = time.process_time() - before
        day.kept_bytes, day.objects = self.lake.kept()
        return day

    def _write_batch(self) -> None:
        plan, hour = self._plan, int(self.clock.now) // HOUR_S
        for table, topic in TABLES.items():
            target = LakeTarget("", "", "", "lake", self.lake.branch, table, topic, ("trade_time",))
            first = self._batch * plan.rows
            files = []
            for partition in range(plan.partitions):
                path = target.data_path(hour, partition, first, first + plan.rows)
                target.put(self.lake, path, b"")
                files.append(
                    {"path": path, "rows": plan.rows, "bytes": 8_000, "partition": partition,
                     "first_offset": first, "next_offset": first + plan.rows}
                )  # fmt: skip
            put_manifest(target, self.lake, self._batch, manifest(target, self._batch, files))
        self._batch += 1

    def _night(self, day: DayCost) -> None:
        of_day = FIRST + (day.day - 1) * ONE_DAY
        days, self.lake.reads = Days(of_day, of_day), 0
        before = time.process_time()
        present, problems = present_files(self.lake, "trades", read_manifests(self.lake, "trades", days), days)
        day.night_cpu_ms, day.night_reads = (time.process_time() - before) * 1000, self.lake.reads
        batches = DAY_S // self._plan.batch_s
        if len(present) != batches * self._plan.partitions or problems:
            raise AssertionError(f"Expected the files of {batches} batches, was {len(present)} and {problems[:3]}")

    def _retention(self, number: int) -> None:
        if not self._keep or number <= self._keep:
            return
        gone = FIRST + timedelta(days=number - self._keep - 1)
        for table in TABLES:
            for folder in (f"bronze/{table}/date={gone}", f"{MANIFESTS}/{table}/date={gone}"):
                self.lake.remove(self.lake.listing(folder))
        self.lake.flush()
        self.lake.commit()


def run(folder: Path, plan: LakeSchedule, arguments: argparse.Namespace, measured: set[int]) -> Iterator[DayCost]:
    """Yield the cost of the measured days."""
    weeks = LakeSimulation(folder, plan, keep_bronze=arguments.keep_bronze, history_days=arguments.history)
    for number in range(1, arguments.days + 1):
        is_measured = number in measured
        thin, sparse = (1, 1) if is_measured else (arguments.thin, arguments.sparse)
        day = weeks.day(number, thin=thin, sparse=sparse, is_measured=is_measured)
        sys.stderr.write(f"day {number}: {day.kept_bytes / 1e6:,.0f} MB of metadata\n")
        if is_measured:
            sys.stderr.write(f"{day}\n")
            yield day
    weeks.lake.service.close()


def table_of(days: list[DayCost]) -> str:
    """Return the figures as a Markdown table."""
    names = list(asdict(days[0]))
    rows = [[_shown(value) for value in asdict(day).values()] for day in days]
    return "\n".join("| " + " | ".join(row) + " |" for row in [names, ["---"] * len(names), *rows])


def _shown(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def main() -> int:
    """Run the simulation and print its table."""
    parser = argparse.ArgumentParser(description="Simulate weeks of the lake.")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--measure", default="1,30,90", help="days to measure, with all their commits")
    parser.add_argument("--thin", type=int, default=120, help="on the other days, make only one commit in this many")
    parser.add_argument("--sparse", type=int, default=60, help="on the other days, write only one batch in this many")
    parser.add_argument("--batch", type=int, default=10, help="seconds between batches")
    parser.add_argument("--keep-bronze", type=int, default=30, help="days of bronze; 0: all")
    parser.add_argument("--history", type=int, default=14, help="days that deleted objects are kept")
    parser.add_argument("--partitions", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = {int(number) for number in arguments.measure.split(",") if int(number) <= arguments.days}
    with tempfile.TemporaryDirectory() as folder:
        days = list(run(Path(folder), LakeSchedule(arguments.partitions, arguments.batch), arguments, measured))
    sys.stdout.write(json.dumps([asdict(day) for day in days], indent=1) if arguments.json else table_of(days))
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
