"""Ledgers and gap book: snapshots, tails, what a restart must know."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.gaps import GapBook
from producer.intervals import IntervalSet
from producer.ledger import RecentPayloads, StreamLedger, Verdict, has_dense_ids
from producer.store import LedgerStore, file_writer
from tests.unit.producer.fakes import NOW_US, ORIGIN, FakeOutbox, agg, intake_on, lines

IDS = st.lists(st.integers(1, 40), max_size=40)


def ledger_of(*ids, writer="live"):
    ledger = StreamLedger("spot", "BTCUSDT", "aggTrade", writer)
    for number in ids:
        if ledger.judge(number) is Verdict.NEW:
            ledger.take(number, "delivered")
    return ledger


def test_snapshot_is_that_of_the_contract():
    ledger = ledger_of(1, 2, 3, 7)
    ledger.offsets = {"0": 4}
    value = json.loads(json.dumps(ledger.snapshot(NOW_US)))
    assert {name: value[name] for name in ("v", "market", "symbol", "stream", "writer", "seen", "offsets")} == {
        "v": 1, "market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade", "writer": "live",
        "seen": [[1, 3], [7, 7]], "offsets": {"0": 4},
    }  # fmt: skip
    assert set(value["counts"]) == {
        "received", "delivered", "rejected", "duplicates", "conflicts", "sampled_out", "ignored",
    }  # fmt: skip
    assert value["updated_at_us"] == NOW_US
    assert ledger.name == "spot/BTCUSDT/aggTrade/live"


@given(IDS, IDS)
def test_a_restored_ledger_goes_on_as_if_it_had_not_stopped(before, after):
    whole = ledger_of(*before, *after)
    first = ledger_of(*before)
    first.offsets = {"0": 1}
    second = StreamLedger("spot", "BTCUSDT", "aggTrade", "live")
    second.restore(first.snapshot(NOW_US))
    for number in after:
        if second.judge(number) is Verdict.NEW:
            second.take(number, "delivered")
    second.offsets = whole.offsets
    assert second.snapshot(NOW_US) == whole.snapshot(NOW_US)


@given(IDS, st.integers(0, 40))
def test_the_tail_makes_up_for_a_snapshot_that_is_too_old(ids, cut):
    """Whatever was snapshot, with the log's tail folded in the ledger knows every id; folding twice changes nothing."""
    old = ledger_of(*ids[:cut])
    fresh = StreamLedger("spot", "BTCUSDT", "aggTrade", "live")
    fresh.restore(old.snapshot(NOW_US))
    for number in [*ids[cut:], *ids]:
        fresh.fold(number)
    assert fresh.own == IntervalSet((number, number) for number in ids)
    assert fresh.counts["delivered"] == len(set(ids))


@given(IDS, IDS)
def test_skipped_ids_are_told_once_and_without_those_of_others(own, others):
    ledger = StreamLedger("spot", "BTCUSDT", "aggTrade", "live")
    ledger.learn({"seen": [[number, number] for number in others]})
    told = []
    for number in own:
        if ledger.judge(number) is Verdict.NEW:
            told += [n for low, high in ledger.take(number, "delivered") for n in range(low, high + 1)]
    assert len(told) == len(set(told))
    assert not set(told) & set(others)


def test_recent_payloads_are_bounded():
    recent = RecentPayloads(size=10)
    for number in range(100):
        recent.newest[str(number)] = number
        recent.turn()
    assert [recent.get(str(number)) for number in (99, 90, 79)] == [99, 90, None]


@pytest.mark.parametrize(
    ("market", "stream", "is_dense"),
    [("spot", "aggTrade", True), ("usdm", "aggTrade", True), ("spot", "trade", True), ("usdm", "trade", False),
     ("coinm", "trade", False), ("spot", "bookTicker", False)],
)  # fmt: skip
def test_dense_ids(market, stream, is_dense):
    assert has_dense_ids(market, stream) is is_dense


def open_gap(*ids):
    book, ledger = GapBook(), ledger_of(*ids)
    book.open(ledger, ledger.holes(), now_us=NOW_US, reason="missed", source="WEBSOCKET")
    return book, ledger


def test_giving_up_the_middle_of_a_gap_leaves_two():
    book, ledger = open_gap(1, 20)
    [gap] = book.open_gaps()
    book.give_up(gap, 5, 8, now_us=NOW_US, reason="not served")
    assert sorted((gap.first_id, gap.last_id, gap.state) for gap in book.take_changed()) == [
        (2, 4, "open"), (5, 8, "unfillable"), (9, 19, "open"),
    ]  # fmt: skip
    assert sorted(gap.first_id for gap in book.of(ledger)) == [2, 9]


@given(st.integers(2, 19), st.integers(0, 17))
def test_no_id_is_lost_by_giving_up(low, length):
    high = min(19, low + length)
    book, _ = open_gap(1, 20)
    [gap] = book.open_gaps()
    book.give_up(gap, low, high, now_us=NOW_US, reason="x")
    told = [n for gap in book.take_changed() for n in range(gap.first_id, gap.last_id + 1)]
    assert sorted(told) == list(range(2, 20))


def test_gaps_come_back_after_a_restart():
    book, ledger = open_gap(1, 5, 10)
    values = [
        json.loads(json.dumps({n: getattr(gap, n) for n in gap.__struct_fields__})) for gap in book.take_changed()
    ]
    values[0] |= {"state": "unfillable"}
    again = GapBook()
    again.restore(values, "spot")
    assert [(gap.first_id, gap.last_id) for gap in again.take_fresh()] == [(6, 9)]
    assert again.forgotten(ledger) == []
    nobody_told = GapBook()
    nobody_told.restore([], "spot")
    assert nobody_told.forgotten(ledger) == [(2, 4), (6, 9)]


class Message:
    def __init__(self, partition, offset, value, key=b"", headers=()):
        self._parts = (partition, offset, value, key, list(headers))

    def partition(self):
        return self._parts[0]

    def offset(self):
        return self._parts[1]

    def value(self):
        return self._parts[2]

    def key(self):
        return self._parts[3]

    def headers(self):
        return self._parts[4]


def encoded(headers):
    return [(name, text.encode()) for name, text in headers.items()]


class FakeLog:
    """Topics as an outbox left them, one partition each; some of the newest records may be hidden from `ends`."""

    def __init__(self, outbox):
        self._outbox = outbox

    def _all(self, topic):
        found = [record for record in self._outbox.records if record[0] == topic]
        return [
            Message(
                0, at, value, key.encode() if isinstance(key, str) else key, [(n, t.encode()) for n, t in h.items()]
            )
            for at, (_, key, value, h) in enumerate(found)
        ]

    def ends(self, topic):
        return {"0": len(self._all(topic))}

    def read(self, topic, start=None):
        return self._all(topic)[(start or {}).get(0, 0) :]

    def latest(self, topic):
        return {message.key().decode(): json.loads(message.value()) for message in self._all(topic)}


def writer_on(outbox, writer="live"):
    gaps = GapBook()
    store = LedgerStore(
        FakeLog(outbox), outbox, market="spot", writer=writer, sample_us=5_000_000, clock=lambda: NOW_US
    )
    store.load(gaps)
    intake = intake_on(outbox, prepare=store.prepare, writer=writer, gaps=gaps if writer == "live" else False)
    intake.known_letters = store.letters
    return intake, store, gaps


TICKER = (
    b'{"stream":"btcusdt@ticker","data":{"e":"24hrTicker","E":%d,"s":"BTCUSDT","c":"1","o":"1","h":"1","l":"1",'
    b'"v":"1","q":"1"}}'
)


@given(IDS, st.integers(0, 40), st.integers(0, 40), st.booleans())
def test_a_writer_that_dies_anywhere_sends_each_id_once(ids, saved_at, died_at, is_file):
    """Save after some frames, die after some more, start again from the first frame (file) or where it died (live)."""
    outbox, name = FakeOutbox(), file_writer("f" * 64) if is_file else "live"
    frames = lines(*map(agg, ids), *(TICKER % (1_723_161_255_000 + 1000 * number) for number in ids))
    intake, store, gaps = writer_on(outbox, name)
    intake.feed(frames[:saved_at], ORIGIN)
    store.save(intake.ledgers.values(), gaps)
    intake.feed(frames[saved_at : saved_at + died_at], ORIGIN)
    intake, store, gaps = writer_on(outbox, name)
    intake.preload([] if is_file else store.known())
    intake.feed(frames if is_file else frames[saved_at + died_at :], ORIGIN)
    store.save(intake.ledgers.values(), gaps, is_closed=True)
    assert sorted(outbox.ids()) == sorted(set(ids))
    ticks = [record["event_id"] for record in outbox.ticks()]
    assert len(ticks) == len({record["event_time"].timestamp() // 5 for record in outbox.ticks()}) == len(set(ticks))
    if ids:
        value = FakeLog(outbox).latest("crypto.ledger")[f"spot/BTCUSDT/aggTrade/{name}"]
        assert IntervalSet(map(tuple, value["seen"])) == IntervalSet((number, number) for number in ids)
        assert (value["closed"], value["counts"]["delivered"]) == (True, len(set(ids)))


def test_first_snapshot_is_flushed_before_the_first_record():
    outbox = FakeOutbox()
    intake, _, _ = writer_on(outbox)
    intake.feed(lines(agg(1)), ORIGIN)
    assert [record[0] for record in outbox.records] == ["crypto.ledger", "crypto.trades"]
    assert 1 in outbox.flushes


def test_snapshot_is_sent_after_the_flush_of_what_it_covers():
    outbox = FakeOutbox()
    intake, store, gaps = writer_on(outbox)
    intake.feed(lines(agg(1), agg(4)), ORIGIN)
    before = len(outbox.records)
    store.save(intake.ledgers.values(), gaps)
    assert outbox.flushes[-1] == before
    assert [record[0] for record in outbox.records[before:]] == ["crypto.ledger", "crypto.gaps"]
    store.save(intake.ledgers.values(), gaps)
    assert len(outbox.records) == before + 2


def test_rejected_ids_count_as_seen_after_a_restart():
    outbox = FakeOutbox()
    intake, _, _ = writer_on(outbox)
    intake.feed(lines(agg(1), agg(2, price="x"), agg(3)), ORIGIN)
    intake, _, gaps = writer_on(outbox)
    intake.feed(lines(agg(2), agg(4)), ORIGIN)
    assert outbox.ids() == [1, 3, 4]
    assert gaps.open_gaps() == []


def test_ids_of_another_writer_make_no_hole():
    outbox = FakeOutbox()
    replayed, store, _ = writer_on(outbox, file_writer("a" * 64))
    replayed.feed(lines(*map(agg, range(1, 10))), ORIGIN)
    store.save(replayed.ledgers.values(), is_closed=True)
    live, _, gaps = writer_on(outbox)
    live.feed(lines(agg(500), agg(501)), ORIGIN)
    again, _, gaps = writer_on(outbox)
    again.preload([("aggTrade", "BTCUSDT")])
    ledger = again.ledger("BTCUSDT", "aggTrade")
    assert list(ledger.own) == [(500, 501)]
    assert gaps.forgotten(ledger) == []


def test_a_restarted_live_writer_still_sends_its_dead_letters():
    outbox = FakeOutbox()
    intake, store, gaps = writer_on(outbox)
    intake.feed(lines(agg(1), agg(2, price="1.123456789"), b"{"), ORIGIN)
    store.save(intake.ledgers.values(), gaps)
    intake, _, _ = writer_on(outbox)
    intake.feed(lines(agg(3), agg(4, price="1.123456789"), b"["), ORIGIN)
    assert [headers["reason"] for _, _, headers in outbox.letters()] == [
        "decimal_out_of_range",
        "truncated",
        "decimal_out_of_range",
        "truncated",
    ]
