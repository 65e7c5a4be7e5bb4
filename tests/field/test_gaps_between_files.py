"""Holes between files are gaps like any other, whatever the order of the replays."""

from __future__ import annotations

import itertools
import json

import pytest

from common.intervals import IntervalSet
from producer.writer.ledger_store import LIVE
from tests.field.in_memory_replays import InMemoryHome, write_archive
from tests.shared_files import field_file
from tests.unit.producer.fakes import ORIGIN, agg, lines
from tests.unit.tickhouse.checks.reconcile.samples import trade
from tests.unit.tickhouse.checks.reconcile.test_conservation_law import check, ledger, truth_of
from tickhouse.checks.reconcile.offered_events import OfferedEvents

HOLE = (1_031_427_012, 1_032_101_777)


@pytest.mark.parametrize("days", [(14, 15), (15, 14)])
def test_two_days_of_the_archive_leave_one_gap(days):
    home = InMemoryHome()
    reported = [home.replay(field_file(f"BTCUSDT-aggTrades-2021-12-{day}.csv"), None).gaps for day in days]

    assert home.gaps() == [(*HOLE, "open")]
    assert HOLE[1] - HOLE[0] + 1 == 674_766
    assert reported == [[], [("aggTrade", "BTCUSDT", *HOLE)]]

    for day in days:  # a second replay changes nothing
        assert home.replay(field_file(f"BTCUSDT-aggTrades-2021-12-{day}.csv"), None).sent == 0
    assert home.gaps() == [(*HOLE, "open")]


SETS = {"a": [(1, 10)], "b": [(15, 20), (22, 25)], "c": [(40, 50)], "over": [(8, 17)]}


@pytest.mark.parametrize("order", list(itertools.permutations(SETS)))
def test_any_order_of_files_ends_with_the_same_open_gaps(tmp_path, order):
    home, there = InMemoryHome(), IntervalSet()
    for name in order:
        ids = [n for low, high in SETS[name] for n in range(low, high + 1)]
        home.replay(write_archive(tmp_path / f"{name}.csv", ids))
        there.update(SETS[name])
        assert [gap[:2] for gap in home.gaps("open")] == there.gaps()

    assert sorted(home.ids()) == [n for low, high in there for n in range(low, high + 1)]

    # No id is in two gaps: the pieces of a gap never overlap.
    reported = [n for low, high, _ in home.gaps() for n in range(low, high + 1)]
    assert len(reported) == len(set(reported))

    filled = {n for low, high, _ in home.gaps("filled") for n in range(low, high + 1)}
    assert filled <= set(home.ids())


def test_a_month_and_its_days_overlap_without_a_gap(tmp_path):
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "day-3.csv", range(300, 400)))
    home.replay(write_archive(tmp_path / "day-1.csv", range(100, 200)))

    assert home.gaps("open") == [(200, 299, "open")]

    home.replay(write_archive(tmp_path / "month.csv", range(100, 500)))
    assert home.gaps() == [(200, 299, "filled")]


def test_backfilled_and_declared_ids_shrink_a_gap(tmp_path):
    home = InMemoryHome()
    for name, ids in (("a", range(1, 10)), ("b", range(100, 110))):
        home.replay(write_archive(tmp_path / f"{name}.csv", ids))
    writer = home.writer("backfill")
    ledger_ = writer.intake.ledger("BTCUSDT", "aggTrade")
    writer.intake.feed(lines(*map(agg, range(50, 60))), ORIGIN)
    writer.gaps.shrink(ledger_, 1)
    writer.close()

    assert home.gaps() == [(10, 49, "open"), (50, 59, "filled"), (60, 99, "open")]

    writer = home.writer("declare")
    ledger_ = writer.intake.ledger("BTCUSDT", "aggTrade")

    assert writer.gaps.declare_unfillable(ledger_, 1, 69, now_us=2, reason="the archive lacks them") == 50

    writer.close()
    assert home.gaps("open", "unfillable") == [(10, 49, "unfillable"), (60, 69, "unfillable"), (70, 99, "open")]

    home.replay(write_archive(tmp_path / "late.csv", range(40, 62)))
    assert home.gaps() == [
        (10, 39, "unfillable"), (40, 49, "filled"), (50, 59, "filled"), (60, 61, "filled"), (62, 69, "unfillable"),
        (70, 99, "open"),
    ]  # fmt: skip


def test_a_filled_gap_stays_filled_when_a_file_is_read_again(tmp_path):
    home = InMemoryHome()
    for name, ids in (("a", range(1, 10)), ("b", range(20, 30)), ("mid", range(10, 20)), ("a", range(1, 10))):
        home.replay(write_archive(tmp_path / f"{name}.csv", ids))
    assert home.gaps() == [(10, 19, "filled")]


def test_files_years_apart_leave_one_gap(tmp_path):
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "2017.csv", [1, 2]))
    home.replay(write_archive(tmp_path / "2026.csv", [3_000_000_000, 3_000_000_001]))

    assert home.gaps() == [(3, 2_999_999_999, "open")]


def test_ids_that_futures_skip_are_no_gap(tmp_path):
    """Binance leaves out ids of insurance-fund and ADL fills, within files and between them."""
    home = InMemoryHome("usdm")
    for name, ids in (("a", (1, 2, 9)), ("b", (20, 30))):
        path = tmp_path / f"BTCUSDT-trades-{name}.csv"
        path.write_text("".join(f"{n},100.5,2.0,201.0,{1_639_474_150_000 + n},true\n" for n in ids))
        home.replay(path)

    assert home.ids() == [1, 2, 9, 20, 30]
    assert home.gaps() == []


def test_two_symbols_in_one_file_have_gaps_of_their_own(tmp_path):
    home = InMemoryHome()
    for name, numbers in (("one", (1, 2)), ("two", (5, 6))):
        path = tmp_path / f"{name}.jsonl"
        frames = [
            agg(n + shift, symbol=symbol) for symbol, shift in (("BTCUSDT", 0), ("ETHUSDT", 100)) for n in numbers
        ]
        path.write_bytes(b"\n".join(frames))
        home.replay(path, None)
    assert home.gaps() == [(3, 4, "open"), (103, 104, "open")]


@pytest.mark.parametrize("is_live_first", [True, False])
def test_the_space_between_files_and_a_live_stream_is_no_gap(tmp_path, is_live_first):
    """Nobody asked for these ids; what the stream brought between two files is no gap either."""
    home = InMemoryHome()

    def live() -> None:
        writer = home.writer(LIVE)
        writer.intake.feed(lines(*map(agg, range(500, 510))), ORIGIN)
        writer.close()

    def files() -> None:
        home.replay(write_archive(tmp_path / "a.csv", range(1, 10)))

    for step in (live, files) if is_live_first else (files, live):
        step()

    assert home.gaps() == []

    home.replay(write_archive(tmp_path / "b.csv", range(600, 610)))
    assert home.gaps() == [(10, 499, "open"), (510, 599, "open")]


def test_a_rejected_row_far_away_makes_no_gap(tmp_path):
    path = write_archive(tmp_path / "a.csv", [1, 2])
    path.write_text(path.read_text() + "999999999999,x,2.0,3,3,1639474150003,True,True\n")
    home = InMemoryHome()
    home.replay(path)
    home.replay(write_archive(tmp_path / "b.csv", [3, 4]))

    assert home.gaps("open") == []


def test_a_kill_between_gap_records_leaves_every_missing_id_in_a_gap(tmp_path):
    """Cut the records of a shrunk gap after each; the old gap still covers the missing ids."""
    home = InMemoryHome()
    for name, ids in (("a", range(1, 10)), ("z", range(100, 110))):
        home.replay(write_archive(tmp_path / f"{name}.csv", ids))
    before = home.log.latest("crypto.gaps")
    home.replay(write_archive(tmp_path / "mid.csv", [20, 21, 22, 50]))
    published = [record for record in home.outbox.records if record[0] == "crypto.gaps"][len(before) :]

    assert len(published) == 5

    missing = {*range(10, 100)} - {20, 21, 22, 50}
    for cut in range(len(published) + 1):
        half = InMemoryHome()
        half.outbox.records = [r for r in home.outbox.records if r[0] != "crypto.gaps"]
        for key, value in before.items():
            half.outbox.send("crypto.gaps", json.dumps(value).encode(), key.encode())
        half.outbox.records += published[:cut]
        writer = half.writer(LIVE)
        reported = {n for gap in writer.gaps.open_gaps() for n in range(gap.first_id, gap.last_id + 1)}
        assert missing <= reported
        writer.gaps.shrink(writer.intake.ledger("BTCUSDT", "aggTrade"), 3)
        writer.close()
        assert {n for low, high, _ in half.gaps("open") for n in range(low, high + 1)} == missing


def test_reconcile_requires_a_gap_between_files():
    truth = OfferedEvents()
    truth.add_all([trade(1), trade(2)], "a")
    truth.add_all([trade(6), trade(7)], "b")
    truth.files_end = len(truth.spans)
    stored = [trade(n) for n in (1, 2, 6, 7)]

    assert check(truth, stored).checks["ledger"].faults["missing"] == 3

    for state in ("open", "unfillable"):
        report = check(truth, stored, ledger({"first_id": 3, "last_id": 5, "state": state, "filled_ids": 0}))
        assert report.ok
        assert report.ids.exchange_ids == 7
        assert report.ids.open_gaps == 3


def test_reconcile_requires_no_gap_between_a_file_and_a_live_stream():
    truth = truth_of(trade(1), trade(2))
    truth.files_end = len(truth.spans)
    truth.add_all([trade(9)], "an exchange")

    assert check(truth, [trade(1), trade(2), trade(9)]).ok
