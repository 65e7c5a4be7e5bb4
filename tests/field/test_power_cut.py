"""Power cuts, expired offsets and recreated topics: where each query goes on, and what it reports.

Reported in public: `offsets/N-1` missing, so that nothing starts (SPARK-38033); a missing
`metadata` (SPARK-55058); leftover `.tmp` files that stop a restart (allwefantasy/spark-binlog #10).
Spark's Kafka source itself says that "zero data lost is not guaranteed when topics are deleted". A
power cut leaves the same files, and empty and torn ones.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spark.checkpoints import lost_offsets
from spark.checkpoints.folder import inspect
from spark.checkpoints.recovery import (
    QUERY_SPECS,
    boot_id,
    checkpoint_folder,
    finish,
    last_seen,
    plan_of,
    recover,
    starting_offsets,
    write_note,
)
from spark.checkpoints.start_offsets import BronzeOffsets, CheckpointNote, Reason, read_note
from tests.unit.spark.checkpoints.checkpoint_folders import TOPIC, TOPIC_ID, at, make, offsets_text, topic

CANDLES = next(stream for stream in QUERY_SPECS if stream.name == "candles")
LAKE = next(stream for stream in QUERY_SPECS if stream.name == "lake_trades")
WHOLE = topic((0, 1_000), (0, 500))
TORN_HEAD, TORN_TAIL = offsets_text(at(4))[:40], offsets_text(at(4))[:-4]


def stored(generation: str | None) -> BronzeOffsets:
    """Return bronze with five committed batches and a sixth whose commit was lost."""
    return BronzeOffsets({0: [(0, 60)], 1: [(0, 30)]}, generation or "")


Break = Callable[[Path], Any]
NOTHING_TO_LOSE: dict[str, tuple[Break, dict[int, int]]] = {
    "newest offsets empty, not committed": (lambda f: (f / "offsets/5").write_text(""), at(4)),
    "newest offsets cut in the first line": (lambda f: (f / "offsets/5").write_text(TORN_HEAD), at(4)),
    "newest offsets cut in the last line": (lambda f: (f / "offsets/5").write_text(TORN_TAIL), at(4)),
    "newest offsets are zeros, as ext4 and xfs leave them": (
        lambda f: (f / "offsets/5").write_bytes(b"\0" * 700), at(4),
    ),
    "newest offsets are no text": (lambda f: (f / "offsets/5").write_bytes(b"\xff\xfe" * 350), at(4)),
    "newest offsets gone, commit there": (
        lambda f: ((f / "offsets/5").unlink(), (f / "commits/5").write_text('v1\n{"nextBatchWatermarkMs":0}')), at(4),
    ),
    "newest offsets of another topic": (
        lambda f: (f / "offsets/5").write_text(offsets_text(at(5)).replace(TOPIC, "other")), at(4),
    ),
    "offsets before the newest empty": (lambda f: (f / "offsets/4").write_text(""), at(3)),
    "offsets before the newest gone": (lambda f: (f / "offsets/4").unlink(), at(3)),
    "newest commit empty": (lambda f: (f / "commits/4").write_text(""), at(4)),
    "newest commit torn": (lambda f: (f / "commits/4").write_text("v1\n{\"next"), at(4)),
    "commit of the newest batch empty": (lambda f: (f / "commits/5").write_text(""), at(4)),
    "all commits gone": (lambda f: [path.unlink() for path in (f / "commits").iterdir()], at(4)),
    "all commits empty": (lambda f: [path.write_text("") for path in (f / "commits").iterdir()], at(4)),
    "metadata empty": (lambda f: (f / "metadata").write_text(""), at(4)),
    "metadata torn": (lambda f: (f / "metadata").write_text('{"id":"f6e4'), at(4)),
    "metadata gone": (lambda f: (f / "metadata").unlink(), at(4)),
    "first offsets empty": (lambda f: (f / "sources/0/0").write_text(""), at(4)),
    "first offsets gone": (lambda f: (f / "sources/0/0").unlink(), at(4)),
    "two newest offsets empty": (
        lambda f: [(f / f"offsets/{batch}").write_text("") for batch in (4, 5)], at(3),
    ),
    "every offsets file empty": (
        lambda f: [path.write_text("") for path in (f / "offsets").iterdir()], {0: 0, 1: 0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING_TO_LOSE)
def test_a_damaged_checkpoint_goes_on_from_the_newest_batch_that_is_certainly_done(name: str, tmp_path: Path) -> None:
    break_it, expected = NOTHING_TO_LOSE[name]
    break_it(make(checkpoint_folder(tmp_path, "candles"), 6, committed=5))

    plan = recover(tmp_path, CANDLES, WHOLE, None)

    assert plan.reason is Reason.CHECKPOINT_DAMAGED
    assert plan.start == expected
    assert plan.lost == ()
    assert plan.detail  # says which file
    fresh = checkpoint_folder(tmp_path, "candles")
    assert [path.name for path in fresh.iterdir()] == ["tickhouse.json"]
    assert len(list((tmp_path / "aside").glob("candles-*checkpoint_damaged"))) == 1


@pytest.mark.parametrize("name", NOTHING_TO_LOSE)
def test_the_lake_goes_on_after_the_offsets_that_it_holds(name: str, tmp_path: Path) -> None:
    break_it, _ = NOTHING_TO_LOSE[name]
    break_it(make(checkpoint_folder(tmp_path, "lake_trades"), 6, committed=5))

    plan = recover(tmp_path, LAKE, WHOLE, stored)

    assert plan.reason is Reason.CHECKPOINT_DAMAGED
    assert plan.start == {0: 60, 1: 30}  # batch 5 is in the lake although no commit says so
    assert plan.note.skip == {}


SOUND: dict[str, Break] = {
    "whole, the newest batch open": lambda _: None,
    "whole, every batch done": lambda f: (f / "commits/5").write_text('v1\n{"nextBatchWatermarkMs":0}'),
    "older files empty: they are only ever deleted": lambda f: (f / "offsets/1").write_text(""),
    "a hole among older files": lambda f: ((f / "offsets/2").unlink(), (f / "commits/2").unlink()),
    "leftovers of a crash": lambda f: [
        (f / "offsets" / name).write_text("") for name in (".6.0c5cbd7a.tmp", ".5.crc", ".6.0c5cbd7a.TID12.tmp")
    ],
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_checkpoint_stays_as_it_is(name: str, tmp_path: Path) -> None:
    folder = make(checkpoint_folder(tmp_path, "candles"), 6, committed=5)
    SOUND[name](folder)

    plan = recover(tmp_path, CANDLES, WHOLE, None)

    assert plan.is_sound
    assert (folder / "offsets" / "5").exists()
    assert not (tmp_path / "aside").exists()
    assert not [path for path in folder.rglob(".*") if path.suffix in (".tmp", ".crc")]
    assert read_note(folder) == plan.note


def test_after_any_damage_no_offset_is_skipped(tmp_path: Path) -> None:
    chance = random.Random(9)
    for number in range(300):
        home = tmp_path / str(number)
        done = chance.randint(1, 8)
        folder = make(checkpoint_folder(home, "candles"), done + chance.randint(0, 1), committed=done)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in chance.sample(files, chance.randint(1, 3)):
            whole = path.read_bytes()
            chance.choice((path.unlink, lambda p=path, w=whole: p.write_bytes(w[: chance.randrange(len(w))])))()

        plan = recover(home, CANDLES, WHOLE, None)

        position = plan.start if plan.start is not None else inspect(folder, TOPIC).position
        assert position is not None
        assert all(position.get(part, 0) <= until for part, until in at(done - 1).items())
        assert plan.lost == ()
        again = recover(home, CANDLES, WHOLE, None)
        assert again.note.start == plan.note.start
        assert again.lost == ()


def test_no_checkpoint_reads_from_the_beginning(tmp_path: Path) -> None:
    plan = recover(tmp_path, CANDLES, topic((7, 1_000), (0, 500)), None)

    assert plan.reason == Reason.NEW
    assert plan.start == {0: 7, 1: 0}
    assert plan.lost == ()
    assert starting_offsets(TOPIC, plan.note) == '{"crypto.trades": {"0": 7, "1": 0}}'


def test_expired_offsets_are_recorded_once_and_the_query_goes_on(tmp_path: Path) -> None:
    make(checkpoint_folder(tmp_path, "candles"), 6)
    expired = topic((100, 1_000), (30, 500))

    plan = recover(tmp_path, CANDLES, expired, None)
    recover(tmp_path, CANDLES, expired, None)

    assert plan.reason is Reason.OFFSETS_EXPIRED
    assert plan.start == {0: 100, 1: 30}
    (lost,) = lost_offsets.unresolved(tmp_path)
    assert lost.query == "candles"
    assert lost.partition == 0
    assert lost.first == 60
    assert lost.until == 100
    assert lost.topic_id == TOPIC_ID
    assert lost.reason == "offsets_expired"
    assert lost.count == 40


def test_expired_offsets_that_the_lake_holds_are_not_lost(tmp_path: Path) -> None:
    make(checkpoint_folder(tmp_path, "lake_trades"), 5)

    plan = recover(tmp_path, LAKE, topic((100, 1_000), (0, 500)), stored)

    assert plan.start == {0: 100, 1: 30}
    assert [(one.partition, one.first, one.until) for one in plan.lost] == [(0, 60, 100)]


def test_the_lake_reads_holes_and_leaves_out_what_lies_behind_them(tmp_path: Path) -> None:
    held = BronzeOffsets({0: [(0, 10), (40, 60)], 1: [(0, 500)]}, "")

    plan = recover(tmp_path, LAKE, WHOLE, lambda _: held)

    assert plan.start == {0: 10, 1: 500}
    assert plan.note.skip == {0: [(40, 60)]}
    assert read_note(checkpoint_folder(tmp_path, "lake_trades")) == plan.note


def test_offsets_lost_with_the_checkpoint_are_known_from_the_drivers_last_report(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text('{"queries": {"candles": {"next_offsets": {"0": 60, "1": 30}}}}')

    plan = recover(tmp_path, CANDLES, topic((100, 1_000), (30, 500)), None)

    assert last_seen(tmp_path, "candles") == {0: 60, 1: 30}
    assert [(one.partition, one.first, one.until) for one in plan.lost] == [(0, 60, 100)]


def opened(tmp_path: Path, query: str, **changes: Any) -> Path:
    """Return a checkpoint that the driver has opened before."""
    folder = make(checkpoint_folder(tmp_path, query), 6)
    write_note(folder, CheckpointNote(**{"topic_id": TOPIC_ID, "boot_id": boot_id(), **changes}))
    return folder


def test_a_recreated_topic_is_read_from_its_beginning_whatever_its_offsets(tmp_path: Path) -> None:
    opened(tmp_path, "candles")

    plan = recover(tmp_path, CANDLES, topic((0, 1_000), (0, 500), topic_id="another"), None)

    assert plan.reason is Reason.TOPIC_RECREATED
    assert plan.start == {0: 0, 1: 0}
    assert [(one.topic_id, one.partition, one.first, one.until) for one in plan.lost] == [
        (TOPIC_ID, 0, 60, None), (TOPIC_ID, 1, 30, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        (((0, 59), (0, 500)), Reason.TOPIC_RECREATED),
        (((0, 1_000),), Reason.TOPIC_RECREATED),
        (((0, 1_000), (0, 500), (0, 9)), Reason.SOUND),
        (((0, 1_000), (0, 500), (5, 9)), Reason.OFFSETS_EXPIRED),
    ],
    ids=["offsets beyond the end", "a partition fewer", "a partition more", "a partition more that expired"],
)
def test_a_checkpoint_of_an_earlier_version_is_compared_by_its_offsets(
    bounds: tuple[tuple[int, int], ...], reason: Reason, tmp_path: Path
) -> None:
    make(checkpoint_folder(tmp_path, "candles"), 6)

    assert plan_of(tmp_path, CANDLES, topic(*bounds), None).reason is reason


def test_a_truncated_log_is_not_taken_for_a_recreated_topic(tmp_path: Path) -> None:
    opened(tmp_path, "candles")

    plan = plan_of(tmp_path, CANDLES, topic((0, 59), (0, 500)), None)
    short = plan_of(tmp_path, CANDLES, topic((0, 9), (0, 500)), None)

    assert plan.reason is Reason.LOG_TRUNCATED
    assert plan.start == at(0)  # older batches were written back long before the power went
    assert [(one.partition, one.first, one.until) for one in plan.lost] == [(0, 10, None), (1, 5, None)]
    assert short.start == {0: 9, 1: 5}


def test_bronze_of_a_recreated_topic_gets_names_of_its_own(tmp_path: Path) -> None:
    opened(tmp_path, "lake_trades")

    plan = recover(tmp_path, LAKE, topic((0, 1_000), (0, 500), topic_id="another"), stored)

    assert plan.start == {0: 0, 1: 0}  # what bronze holds are offsets of the other topic
    assert plan.note.skip == {}
    assert plan.note.generation
    assert plan.note.topic_id == "another"


def test_a_damaged_note_is_rebuilt_from_the_lake(tmp_path: Path) -> None:
    (opened(tmp_path, "lake_trades") / "tickhouse.json").write_text("")

    plan = recover(tmp_path, LAKE, WHOLE, lambda _: BronzeOffsets({0: [(0, 60)], 1: [(0, 30)]}, "ab12cd34"))

    assert plan.reason is Reason.CHECKPOINT_DAMAGED
    assert plan.detail == "tickhouse.json is empty"
    assert plan.note.generation == "ab12cd34"
    assert plan.start == {0: 60, 1: 30}


def test_stores_without_fsync_get_recent_batches_again_after_a_restart_of_the_machine(tmp_path: Path) -> None:
    opened(tmp_path, "candles", boot_id="before")
    opened(tmp_path, "lake_trades", boot_id="before")

    plan = recover(tmp_path, CANDLES, WHOLE, None)
    lake = recover(tmp_path, LAKE, WHOLE, stored)

    assert plan.reason == Reason.MACHINE_RESTARTED
    assert plan.start == at(0)
    assert lake.is_sound  # the lake fsyncs
    assert recover(tmp_path, CANDLES, WHOLE, None).note.start == at(0)


def test_a_repair_that_was_killed_between_its_renames_is_finished(tmp_path: Path, monkeypatch: Any) -> None:
    make(checkpoint_folder(tmp_path, "candles"), 6)
    monkeypatch.setattr("spark.checkpoints.recovery.finish", lambda *_: None)
    plan = recover(tmp_path, CANDLES, topic((100, 1_000), (30, 500)), None)
    monkeypatch.undo()
    folder = checkpoint_folder(tmp_path, "candles")
    assert not folder.exists()

    assert plan_of(tmp_path, CANDLES, topic((100, 1_000), (30, 500)), None).note.start == plan.start
    finish(tmp_path, "candles")

    note = read_note(folder)
    assert note is not None
    assert note.start == plan.start
    assert len(lost_offsets.unresolved(tmp_path)) == 1


@pytest.mark.parametrize(
    "step", ["lost_offsets.record", "_stage", "_set_aside", "finish", "write_note", "_sync_folder"]
)
@pytest.mark.parametrize("query", [CANDLES, LAKE], ids=["candles", "lake"])
def test_killed_at_any_step_the_next_start_ends_the_same(
    step: str, query: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = topic((100, 1_000), (30, 500))
    covered = stored if query.is_lake else None
    wanted = recover(make(tmp_path / "whole/checkpoints" / query.name, 6).parent.parent, query, expired, covered)
    home = make(tmp_path / "killed/checkpoints" / query.name, 6).parent.parent
    calls: list[int] = []

    def die(*_: Any) -> None:
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(f"spark.checkpoints.recovery.{step}", die)
    with pytest.raises(KeyboardInterrupt):
        recover(home, query, expired, covered)
    monkeypatch.undo()
    again = recover(home, query, expired, covered)

    assert calls
    assert again.note.start == wanted.note.start
    note = read_note(checkpoint_folder(home, query.name))
    assert note is not None
    assert note.start == wanted.note.start
    assert [one.name for one in lost_offsets.unresolved(home)] == [
        one.name for one in lost_offsets.unresolved(tmp_path / "whole")
    ]


def test_only_the_newest_old_checkpoints_are_kept_aside(tmp_path: Path) -> None:
    for number in range(9):
        make(checkpoint_folder(tmp_path, "candles"), 3)
        recover(tmp_path, CANDLES, topic((100, 1_000), (30, 500)), None, now_us=lambda n=number: n)
        shutil.rmtree(checkpoint_folder(tmp_path, "candles"))

    kept = sorted(path.name for path in (tmp_path / "aside").glob("candles-*"))
    assert kept == [f"candles-{number}-offsets_expired" for number in range(4, 9)]
