"""Storage of the stand-in stays small: trees stored as differences, and garbage collection."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from standins.lakefs.api_errors import Refusal
from standins.lakefs.blocks import LocalBlocks
from standins.lakefs.entries import Entry
from standins.lakefs.garbage_collection import DAY_S, days_of
from standins.lakefs.git_store import DELTA, LONGEST_CHAIN
from standins.lakefs.model import Commit, Repository
from standins.lakefs.references import NewCommit
from standins.lakefs.service import KeyPair, LakeFsStandIn
from standins.lakefs.tree_merge import MergeRequest

NOON = 1_700_000_000


class DayClock:
    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


class TimedLake:
    """A stand-in without a server, with a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = DayClock()
        self.service = LakeFsStandIn(folder, lambda: LocalBlocks(folder), KeyPair("key", "secret"))
        self.service.core.clock = self.clock
        self.service.core.database._writer.execute("PRAGMA synchronous=OFF")  # no power loss in this test
        if not self.service.references.repositories():
            made = Repository("lake", "local://lake", "main", NOON, False, {}, ())
            self.service.references.create_repository(made, "test")

    def keep_days(self, days: int) -> None:
        self.service.references.set_gc_rules("lake", {"default_retention_days": days, "branches": []})

    def put(self, path: str, body: str, branch: str = "main") -> None:
        core = self.service.core
        address = core.blocks.keep(body.encode(), "local://lake")
        self.service.objects.put("lake", branch, path, Entry(address, len(body), body, core.now()))

    def put_entry(self, path: str, body: str) -> None:
        """Stage an object whose block is never read."""
        address = f"local://lake/data/00/{path}-{body}"
        self.service.objects.put("lake", "main", path, Entry(address, len(body), body, self.service.core.now()))

    def commit(self, branch: str = "main") -> Commit:
        new = NewCommit("made", "test", {}, self.service.core.now())
        return self.service.history.commit("lake", branch, new, allow_empty=True)

    def merge(self, source: str, into: str) -> Commit:
        new = NewCommit("", "test", {}, self.service.core.now())
        return self.service.history.merge("lake", source, into, MergeRequest(new))

    def body(self, ref: str, path: str) -> str:
        entry = self.service.objects.get("lake", ref, path)
        with self.service.core.blocks.open(entry.address, 0) as source:
            return source.read().decode()

    def paths(self, ref: str, prefix: str = "") -> list[str]:
        return [row.path for row in self.service.objects.listing("lake", ref, prefix=prefix, amount=10_000)[0]]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "metadata.sqlite3")) as connection:
            return connection.execute(query).fetchall()

    def blocks(self) -> int:
        return sum(path.is_file() for path in (self.folder / "blocks").rglob("*"))


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[TimedLake]:
    made = TimedLake(tmp_path)
    yield made
    made.service.close()


def test_a_commit_to_a_large_folder_writes_only_its_changes(lake: TimedLake) -> None:
    """The same work costs the same bytes in a folder of 100 entries and in one of 3,000."""

    def written(start: int) -> int:
        (before,) = lake.rows("SELECT coalesce(sum(length(data)), 0) FROM objects WHERE type <> 3")[0]
        for number in range(start, start + 10):
            lake.put_entry(f"bronze/trades/file-{number:06d}-with-a-long-name.parquet", str(number))
        lake.commit()
        (after,) = lake.rows("SELECT sum(length(data)) FROM objects WHERE type <> 3")[0]
        return after - before

    small = [written(100 + 10 * number) for number in range(16)][1:]
    for number in range(3_000):
        lake.put_entry(f"bronze/trades/file-9{number:05d}-with-a-long-name.parquet", "x")
    lake.commit()
    large = [written(20_000 + 10 * number) for number in range(16)]
    # After LONGEST_CHAIN commits the folder is stored complete again.
    assert sorted(large)[len(large) // 2] <= 1.3 * sorted(small)[len(small) // 2]
    assert any(stored & DELTA for (stored,) in lake.rows("SELECT type FROM objects"))
    assert len(lake.paths("main")) == 3_000 + 160 + 160
    chains = lake.rows("SELECT substr(data, 21, 1) FROM objects WHERE type = 34")
    assert max(bytes(chain)[0] for (chain,) in chains) == LONGEST_CHAIN


def test_a_folder_that_returns_to_an_earlier_state_can_be_read(lake: TimedLake) -> None:
    names = [f"folder/file-{number:04d}-with-a-long-name" for number in range(200)]
    for name in names:
        lake.put_entry(name, "one")
    first = lake.commit()
    for _ in range(3):
        lake.service.objects.delete("lake", "main", names[:3])
        lake.commit()
        for name in names[:3]:
            entry = lake.service.objects.get("lake", first.id, name)
            lake.service.objects.put("lake", "main", name, entry)
        assert lake.commit().tree == first.tree
    assert lake.paths("main") == names


def test_without_rules_only_uncommitted_objects_are_removed(lake: TimedLake) -> None:
    lake.put("a", "first")
    old = lake.commit()
    lake.put("a", "never committed")
    lake.put("a", "second")
    lake.commit()
    lake.clock.now += 400 * DAY_S
    assert lake.service.collector.collect().blocks == 1
    assert (lake.body(old.id, "a"), lake.body("main", "a"), lake.blocks()) == ("first", "second", 2)


def test_deleted_objects_are_removed_after_their_retention(lake: TimedLake) -> None:
    lake.keep_days(14)
    lake.put("bronze/a", "deleted")
    lake.put("gold/b", "kept")
    old = lake.commit()
    lake.service.objects.delete("lake", "main", ["bronze/a"])
    lake.commit()
    lake.commit()
    lake.clock.now += 13 * DAY_S
    assert lake.service.collector.collect().blocks == 0
    assert lake.body(old.id, "bronze/a") == "deleted"
    lake.clock.now += 2 * DAY_S
    result = lake.service.collector.collect()
    assert (result.blocks, result.pointers, lake.blocks()) == (1, 1, 1)
    with pytest.raises(Refusal) as refused:
        lake.body(old.id, "bronze/a")
    assert refused.value.status == 410
    with pytest.raises(Refusal, match="expired"):
        lake.service.diffs.between_trees(old.tree, lake.service.references.resolve("lake", "main").commit.tree, None)
    with pytest.raises(Refusal, match="expired"):
        lake.service.references.create_branch(lake.service.references.repository("lake"), "old", old.id)
    assert lake.body("main", "gold/b") == "kept"
    log = lake.service.history.log(lake.service.references.resolve("lake", "main"))
    assert [one.id for one in log][2] == old.id
    assert lake.service.collector.collect().blocks == 0


def test_a_tag_keeps_figures_but_not_bronze(lake: TimedLake) -> None:
    lake.keep_days(14)
    lake.put("bronze/trades/a", "bronze")
    lake.put("silver/trades/a", "silver")
    lake.put("gold/b", "first")
    tagged = lake.commit()
    lake.service.references.create_tag(lake.service.references.repository("lake"), "daily-1", tagged.id)
    lake.service.objects.delete("lake", "main", ["bronze/trades/a", "silver/trades/a"])
    lake.put("gold/b", "second")
    lake.commit()
    lake.clock.now += 100 * DAY_S
    assert lake.service.collector.collect().blocks == 1
    assert (lake.body("daily-1", "silver/trades/a"), lake.body("daily-1", "gold/b")) == ("silver", "first")
    with pytest.raises(Refusal, match="expired"):
        lake.body("daily-1", "bronze/trades/a")


def test_old_branches_can_still_be_merged(lake: TimedLake) -> None:
    lake.keep_days(14)
    lake.put("a", "base")
    lake.commit()
    lake.service.references.create_branch(lake.service.references.repository("lake"), "ingest", "main")
    lake.put("b", "theirs", "ingest")
    lake.commit("ingest")
    lake.put("a", "ours")
    lake.commit()
    lake.put("c", "staged", "ingest")
    lake.clock.now += 100 * DAY_S
    lake.service.collector.collect()
    lake.merge("ingest", "main")
    assert [lake.body("main", path) for path in ("a", "b")] == ["ours", "theirs"]
    assert lake.body("ingest", "c") == "staged"


def test_a_copy_keeps_the_block_that_it_shares(lake: TimedLake) -> None:
    lake.keep_days(1)
    lake.put("a", "shared")
    lake.commit()
    lake.clock.now += 1
    entry = lake.service.objects.get("lake", "main", "a")
    lake.service.objects.put("lake", "main", "copy", Entry(entry.address, entry.size, entry.checksum, NOON + 9))
    lake.service.objects.delete("lake", "main", ["a"])
    lake.commit()
    lake.commit()
    lake.clock.now += 3 * DAY_S
    result = lake.service.collector.collect()
    assert (result.pointers, result.blocks) == (1, 0)
    assert lake.body("main", "copy") == "shared"


def test_objects_that_come_back_while_collecting_are_kept(lake: TimedLake) -> None:
    """Between marking and removal, a commit brings back a tree and pointers found dead."""
    lake.keep_days(1)
    lake.put("a", "one")
    entry = lake.service.objects.get("lake", "main", "a")
    first = lake.commit()
    lake.put("a", "two")
    lake.commit()
    lake.commit()
    lake.clock.now += 5 * DAY_S
    lock = lake.service.core.collection_lock
    exclusive, came_back = lock.exclusive, list[str]()

    def bring_back(timeout_s: float) -> object:
        if not came_back:
            lake.service.objects.put("lake", "main", "a", entry)
            came_back.append(lake.commit().id)
        return exclusive(timeout_s)

    lock.exclusive = bring_back  # type: ignore[method-assign,assignment]
    lake.service.collector.collect()
    assert came_back
    assert lake.service.references.resolve("lake", "main").commit.tree == first.tree
    assert lake.body("main", "a") == "one"


def test_no_visible_object_is_removed_during_writes_merges_and_branches(lake: TimedLake) -> None:
    lake.keep_days(1)
    lake.service.references.create_branch(lake.service.references.repository("lake"), "ingest", "main")
    done, failures = threading.Event(), list[BaseException]()

    def write() -> None:
        repository = lake.service.references.repository("lake")
        try:
            for number in range(40):
                for name in range(8):
                    # Few bodies and few names, so deleted objects come back all the time.
                    lake.put(f"bronze/{(number + name) % 5}", str(name % 3), "ingest")
                lake.service.objects.delete("lake", "ingest", [f"bronze/{number % 5}"])
                lake.commit("ingest")
                lake.merge("ingest", "main")
                lake.service.references.create_branch(repository, f"etl-{number}", "main")
                lake.clock.now += DAY_S
                for path in lake.paths("main"):
                    lake.body("main", path)
        except BaseException as error:  # noqa: BLE001  # shown by the test
            failures.append(error)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        lake.service.collector.collect()
    writer.join()
    assert failures == []
    for branch, _ in lake.service.references.branches("lake"):
        assert {lake.body(branch, path) for path in lake.paths(branch)} <= {"0", "1", "2"}
    assert lake.service.collector.collect().is_whole


def test_the_next_run_finishes_a_killed_one(lake: TimedLake) -> None:
    lake.keep_days(1)
    for number in range(30):
        lake.put(f"bronze/{number}", str(number))
    lake.commit()
    lake.service.objects.delete("lake", "main", [f"bronze/{number}" for number in range(30)])
    lake.put("gold/kept", "kept")
    lake.commit()
    lake.commit()
    lake.clock.now += 5 * DAY_S
    drop, dropped = lake.service.core.blocks.drop, list[str]()

    def dies(address: str) -> None:
        if len(dropped) == 10:
            raise OSError("kill -9")
        dropped.append(address)
        drop(address)

    lake.service.core.blocks.drop = dies  # type: ignore[method-assign]
    with pytest.raises(OSError, match="kill -9"):
        lake.service.collector.collect()
    lake.service.core.blocks.drop = drop  # type: ignore[method-assign]
    lake.service.collector.collect()
    assert lake.blocks() == 1
    assert lake.rows("SELECT count(*) FROM doomed") == [(0,)]


def test_disk_use_is_constant_when_each_day_adds_and_removes_the_same(lake: TimedLake) -> None:
    lake.keep_days(2)
    sizes = []
    for day in range(12):
        for hour in range(6):
            for number in range(40):
                lake.put_entry(
                    f"bronze/date={day:02d}/hour={hour}/file-{number:03d}-long-name", f"{day} {hour} {number}"
                )
            lake.commit()
        if day >= 3:
            gone = [path for path in lake.paths("main", f"bronze/date={day - 3:02d}/")]
            lake.service.objects.delete("lake", "main", gone)
            lake.commit()
        lake.clock.now += DAY_S
        lake.service.collector.collect()
        sizes.append(lake.rows("SELECT count(*) FROM objects WHERE type <> 1 AND type <> 17")[0][0])
    assert max(sizes[-4:]) <= 1.1 * sizes[6]


def test_a_metadata_file_of_the_previous_version_is_migrated(tmp_path: Path) -> None:
    made = TimedLake(tmp_path)
    made.put("a", "old")
    commit = made.commit()
    made.service.close()
    with closing(sqlite3.connect(tmp_path / "metadata.sqlite3")) as connection:
        connection.executescript(
            "DROP TABLE gc_rules; DROP TABLE doomed; DROP INDEX commits_by_time; PRAGMA user_version = 1"
        )
    again = TimedLake(tmp_path)
    again.keep_days(3)
    assert again.body(commit.id, "a") == "old"
    again.service.close()


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        ({"default_retention_days": 5, "branches": []}, 5),
        ({"default_retention_days": 5, "branches": [{"branch_id": "main", "retention_days": 9}]}, 9),
        ({"default_retention_days": 5}, 5),
    ],
)
def test_the_largest_number_of_days_counts(rules: dict[str, object], days: int) -> None:
    assert days_of(rules) == days
