"""Ids with many gaps: sets, snapshots and gaps are bounded, and no look-up visits all ranges."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clients.gap_ledger import ids_of
from common.intervals import IntervalSet
from producer.backfill import backfill
from producer.exchange.rest import PAGE
from producer.ledger.gaps import GapBook
from producer.ledger.snapshots import BLOCK_IDS, HEAD_RANGES, encoded, snapshots
from producer.ledger.stream_ledger import StreamLedger
from producer.writer.ledger_store import LIVE
from tests.field.in_memory_replays import InMemoryHome, write_archive, write_bad_archive
from tests.unit.producer.fake_rest import Exchange, client_for
from tests.unit.producer.fakes import NOW_US, ORIGIN, agg, lines
from tests.unit.producer.recovery.test_gap_filling import fill
from tickhouse.checks.reconcile import gap_ledger as ledgers
from tickhouse.checks.reconcile.kafka import LogRecord

BROKER_LIMIT = 1 << 20
SPARSE = range(1, 20_001, 2)


def ledger_with(ids, writer="file:a"):
    ledger = StreamLedger("spot", "BTCUSDT", "aggTrade", writer)
    ledger.own.update((n, n) for n in ids)
    ledger.changed_blocks = {n // BLOCK_IDS for n in ids}
    return ledger


def records_of(home):
    return [(key.decode(), value) for topic, key, value, _ in home.outbox.records if topic == "crypto.ledger"]


def ledger_of_checker(home):
    """Return the ledger as the independent checker reads it."""
    found = [LogRecord("crypto.ledger", 0, at, 0, k.encode(), v, {}) for at, (k, v) in enumerate(records_of(home))]
    return ledgers.read(found, [])


def test_a_sparse_file_twice_and_then_a_dense_one_leave_each_id_once(tmp_path):
    home = InMemoryHome()
    sparse = write_archive(tmp_path / "sparse.csv", SPARSE)

    assert home.replay(sparse).sent == 10_000
    assert home.replay(sparse).sent == 0
    assert home.replay(write_archive(tmp_path / "dense.csv", range(1, 20_001))).sent == 10_000
    assert sorted(home.ids()) == [*range(1, 20_001)]
    assert max(len(value or b"") for _, value in records_of(home)) < BROKER_LIMIT / 10
    assert list(ledger_of_checker(home).seen().values()) == [[(1, 20_000)]]
    assert home.gaps("open") == []


def test_snapshots_of_any_set_stay_far_below_the_brokers_limit():
    """A million ranges, and the worst block there is: every second id of it."""
    ledger = ledger_with(range(0, 2_000_000, 2))
    write, gone = ledger.plan_parts()

    assert len(write) == 31
    assert gone == set()

    sizes = [len(json.dumps(ledger.part_value(block, NOW_US))) for block in write]
    assert max(sizes) < 12_000
    assert len(json.dumps(ledger.head_value(NOW_US))) < 1_000


def test_a_snapshot_costs_the_blocks_that_changed():
    ledger = ledger_with(range(0, 2_000_000, 2))
    ledger.plan_parts()

    assert ledger.plan_parts() == (set(), set())

    ledger.take(2_000_001, "delivered")
    assert ledger.plan_parts() == ({30}, set())

    ledger.take(1, "delivered")
    assert ledger.plan_parts() == ({0}, set())


def test_a_block_that_became_whole_moves_to_the_head():
    ledger = ledger_with(range(0, 4 * BLOCK_IDS, 2))
    ledger.plan_parts()
    for number in range(1, BLOCK_IDS, 2):
        ledger.take(number, "delivered")

    assert ledger.plan_parts() == (set(), {0})
    assert ledger.head_value(NOW_US)["seen"] == [[0, BLOCK_IDS - 1]]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 6 * BLOCK_IDS), st.integers(0, BLOCK_IDS), st.integers(1, 3)), max_size=4),
    st.sets(st.integers(0, 6 * BLOCK_IDS), max_size=5),
)
def test_any_set_comes_back_from_its_records(runs, rejected):
    ledger = StreamLedger("spot", "BTCUSDT", "aggTrade", "file:a")
    for low, length, step in runs:
        ledger.own.update((n, n) for n in range(low, low + length, step))
    ledger.own.update((n, n) for n in rejected)
    ledger.rejected.update((n, n) for n in rejected)
    ledger.changed_blocks = {n // BLOCK_IDS for pair in ledger.own for n in range(pair[0], pair[1] + 1, BLOCK_IDS)}
    write, _ = ledger.plan_parts()
    values = {f"{ledger.name}/{block}": ledger.part_value(block, NOW_US) for block in write}
    values[ledger.name] = ledger.head_value(NOW_US)
    [found] = snapshots(json.loads(json.dumps(values)))

    assert found.seen() == ledger.own
    assert found.rejected() == ledger.rejected

    read = ledgers.read(
        [LogRecord("t", 0, 0, 0, k.encode(), json.dumps(v).encode(), {}) for k, v in values.items()], []
    )
    assert IntervalSet(one for ranges in read.seen().values() for one in ranges) == ledger.own
    assert write or len(ledger.own) + len(ledger.rejected) <= HEAD_RANGES


@pytest.mark.parametrize("count", [1, 256, 257, BLOCK_IDS // 2])
def test_both_encodings_of_a_part_decode_to_the_same_ranges(count):
    ranges = [(5 * BLOCK_IDS + 2 * n, 5 * BLOCK_IDS + 2 * n) for n in range(count)]
    value = encoded("seen", 5, ranges) | {"part": 5}

    assert ids_of(value, "seen") == ranges == ledgers.seen_of(value)
    assert ("seen_bits" in value) is (count > 256)


def test_a_kill_between_the_records_of_a_snapshot_sends_no_id_twice(tmp_path):
    """Cut the ledger after any record of the second snapshot; the next start goes on from there."""
    home = InMemoryHome()
    writer = home.writer("file:a")
    writer.intake.feed(lines(*(agg(n) for n in range(1, 4_001, 2))), ORIGIN)
    writer.save()
    before = len(records_of(home))
    writer.intake.feed(lines(*(agg(n) for n in range(200_001, 204_001, 2))), ORIGIN)
    writer.save()
    everything = home.outbox.records
    ledger_at = [at for at, record in enumerate(everything) if record[0] == "crypto.ledger"]

    assert len(ledger_at) - before == 2  # a new part, then the head: block 0 did not change

    for keep in range(before, len(ledger_at) + 1):
        gone = set(ledger_at[keep:])
        home.outbox.records = [record for at, record in enumerate(everything) if at not in gone]
        again = home.writer("file:a")
        again.intake.feed(lines(*(agg(n) for n in [*range(1, 4_001, 2), *range(200_001, 204_001, 2)])), ORIGIN)
        assert len(home.ids()) == len(set(home.ids())) == 4_000


def test_a_snapshot_of_an_earlier_version_is_saved_in_parts(tmp_path):
    home = InMemoryHome()
    old = ledger_with(range(0, 100_000, 2), writer=LIVE)
    value = old.head_value(NOW_US) | {"closed": True}
    for name in ("rejected", "parts", "began_at"):
        del value[name]

    assert len(value["seen"]) == 50_000

    home.outbox.send("crypto.ledger", json.dumps(value).encode(), old.name.encode())
    writer = home.writer(LIVE)
    ledger = writer.intake.ledger("BTCUSDT", "aggTrade")

    assert len(ledger.own) == 50_000

    writer.close()
    assert len(home.log.latest("crypto.ledger")[old.name]["seen"]) == 0
    assert list(ledger_of_checker(home).seen().values()) == [[(n, n) for n in range(0, 100_000, 2)]]


# --- gaps


def book_of(gaps):
    book, ledger = GapBook(), ledger_with(range(0, 2 * gaps + 2, 2), writer=LIVE)
    book.open(ledger, ledger.own.gaps(), now_us=NOW_US, reason="missed", source="WEBSOCKET")
    return book, ledger


def test_a_late_id_checks_its_own_gap_only(monkeypatch):
    """20,000 gaps and 2,000 late ids: each asks one gap whether it is whole, not all of them."""
    book, ledger = book_of(20_000)
    asked = []
    monkeypatch.setattr(StreamLedger, "is_missing", lambda self, low, high: asked.append(low) or False)
    for number in range(20_001, 24_001, 2):
        book.close_gap_at(ledger, number, NOW_US)

    assert len(asked) == 2_000
    assert len(book.open_gaps()) == 18_000


def test_a_check_for_missing_ids_stops_at_the_first():
    ledger = ledger_with(range(0, 1_000_000, 2))
    steps = 0

    def counting(low, high, holes=ledger.others.holes):
        nonlocal steps
        steps += 1
        return holes(low, high)

    class Others(IntervalSet):
        def holes(self, low, high):
            return counting(low, high)

    ledger.others = Others()

    assert ledger.is_missing(0, 999_999)
    assert steps == 1


def test_one_page_of_rest_fills_the_small_gaps_that_it_covers():
    """10,000 ids that were skipped one by one cost a request per 1,000 ids, not one per gap."""
    exchange = Exchange(range(1, 20_002))
    outbox, intake = fill(exchange, *range(1, 20_002, 2))

    assert sorted(outbox.ids()) == [*range(1, 20_002)]
    assert intake.gaps.open_gaps() == []
    # Four workers may each ask for the page that another one has just asked for.
    assert len(exchange.asked) <= 4 * (20_000 // PAGE + 1)


def test_ids_that_the_exchange_left_out_are_unfillable_gap_by_gap():
    _, intake = fill(Exchange([*range(1, 10), *range(14, 40)]), 1, 5, 9, 20, 30)
    assert {(gap.first_id, gap.last_id, gap.state) for gap in intake.gaps.take_changed()} == {
        (2, 4, "filled"), (6, 8, "filled"), (10, 13, "unfillable"), (14, 19, "filled"), (21, 29, "filled"),
    }  # fmt: skip


def test_a_backfill_over_sparse_ids_asks_page_by_page(tmp_path):
    """10,000 of 20,000 ids are there, every second one; some of the rest were refused."""
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "sparse.csv", SPARSE))
    home.replay(write_bad_archive(tmp_path / "bad.csv", range(2, 100, 2), price="x"))
    exchange, writer = Exchange([n for n in range(1, 20_001) if n not in range(500, 510)]), home.writer("backfill")
    done = asyncio.run(backfill(writer, client_for(exchange), "BTCUSDT", (1, 20_000)))

    assert done.sent == 9_995
    assert done.known == 10_000
    assert done.rejected == 0
    assert done.is_whole
    assert done.unserved == [(n, n) for n in range(500, 510, 2)]
    assert len(exchange.asked) <= 21
    assert len(set(home.ids())) == len(home.ids()) == 19_995


# --- the set itself


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 5)), max_size=120),
    st.lists(st.integers(0, 300), max_size=120),
)
def test_an_interval_set_is_a_set(added, removed):
    found, model = IntervalSet(), set()
    found.update((low, low + length) for low, length in added)
    model.update(n for low, length in added for n in range(low, low + length + 1))
    found.remove((n, n) for n in removed)
    model -= set(removed)

    assert {n for low, high in found for n in range(low, high + 1)} == model
    assert {n for low, high in found.within(50, 250) for n in range(low, high + 1)} == {
        n for n in model if 50 <= n <= 250
    }

    ranges = list(found)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(ranges))


def test_many_ranges_are_merged_in_one_pass(monkeypatch):
    single = []
    add_range = IntervalSet.add_range
    monkeypatch.setattr(
        IntervalSet, "add_range", lambda self, low, high: single.append(low) or add_range(self, low, high)
    )
    found = IntervalSet((n, n) for n in range(0, 200_000, 2))
    found.update((n, n) for n in range(1, 200_000, 2))
    found.remove((n, n) for n in range(0, 200_000, 2))

    assert len(found) == 100_000
    assert single == []
