"""The ledger in Kafka: what a writer saves, and what the next start restores."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from common.intervals import IntervalSet
from producer.ledger.gaps import GapBook
from producer.writer.ledger_store import LedgerStore, file_writer
from tests.unit.producer.fakes import IDS, NOW_US, ORIGIN, FakeOutbox, agg, intake_on, lines


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


class FakeLog:
    """Reads the records of a fake outbox as topics of one partition."""

    def __init__(self, outbox):
        self._outbox = outbox

    def _all(self, topic):
        records = [record for record in self._outbox.records if record[0] == topic]
        return [
            Message(
                0, at, value, key.encode() if isinstance(key, str) else key, [(n, t.encode()) for n, t in h.items()]
            )
            for at, (_, key, value, h) in enumerate(records)
        ]

    def ends(self, topic):
        return {"0": len(self._all(topic))}

    def read(self, topic, start=None):
        return self._all(topic)[(start or {}).get(0, 0) :]

    def latest(self, topic):
        values = {message.key().decode(): message.value() for message in self._all(topic)}
        return {key: json.loads(value) for key, value in values.items() if value is not None}


def writer_on(outbox, writer="live"):
    gaps = GapBook()
    store = LedgerStore(
        FakeLog(outbox), outbox, market="spot", writer=writer, sample_us=5_000_000, clock=lambda: NOW_US
    )
    store.load(gaps)
    intake = intake_on(outbox, prepare=store.prepare, writer=writer, gaps=gaps if writer == "live" else False)
    intake.known_dead_letters = store.dead_letters
    return intake, store, gaps


TICKER = (
    b'{"stream":"btcusdt@ticker","data":{"e":"24hrTicker","E":%d,"s":"BTCUSDT","c":"1","o":"1","h":"1","l":"1",'
    b'"v":"1","q":"1"}}'
)


@given(IDS, st.integers(0, 40), st.integers(0, 40), st.booleans())
def test_a_writer_killed_anywhere_sends_each_id_once(ids, saved_at, killed_at, is_file):
    """A file is read again from its first frame; a live stream continues after the kill."""
    outbox, name = FakeOutbox(), file_writer("f" * 64) if is_file else "live"
    frames = lines(*map(agg, ids), *(TICKER % (1_723_161_255_000 + 1000 * number) for number in ids))
    intake, store, gaps = writer_on(outbox, name)
    intake.feed(frames[:saved_at], ORIGIN)
    store.save(intake.ledgers.values(), gaps)
    intake.feed(frames[saved_at : saved_at + killed_at], ORIGIN)
    intake, store, gaps = writer_on(outbox, name)
    intake.preload([] if is_file else store.known())
    intake.feed(frames if is_file else frames[saved_at + killed_at :], ORIGIN)
    store.save(intake.ledgers.values(), gaps, is_closed=True)
    assert sorted(outbox.ids()) == sorted(set(ids))
    ticks = [record["event_id"] for record in outbox.ticks()]
    assert len(ticks) == len({record["event_time"].timestamp() // 5 for record in outbox.ticks()}) == len(set(ticks))
    if ids:
        value = FakeLog(outbox).latest("crypto.ledger")[f"spot/BTCUSDT/aggTrade/{name}"]
        assert IntervalSet(map(tuple, value["seen"])) == IntervalSet((number, number) for number in ids)
        assert (value["closed"], value["counts"]["delivered"]) == (True, len(set(ids)))


def test_the_first_snapshot_is_flushed_before_the_first_record():
    outbox = FakeOutbox()
    intake, _, _ = writer_on(outbox)
    intake.feed(lines(agg(1)), ORIGIN)
    assert [record[0] for record in outbox.records] == ["crypto.ledger", "crypto.trades"]
    assert 1 in outbox.flushes


def test_a_snapshot_is_sent_after_the_flush_of_its_events():
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
    assert outbox.ids() == [1, 3, 2, 4]
    assert gaps.open_gaps() == []


def test_ids_of_another_writer_are_no_hole():
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
    assert gaps.unrecorded_holes(ledger) == []


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
