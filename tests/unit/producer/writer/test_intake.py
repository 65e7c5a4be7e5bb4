"""Frames pass through intake and ledger: which are sent, dropped or rejected, which are missing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.intervals import IntervalSet
from tests.unit.producer.fakes import NOW_US, ORIGIN, FakeOutbox, agg, intake_on, lines


@pytest.fixture
def outbox():
    return FakeOutbox()


def counts(intake, symbol="BTCUSDT", stream="aggTrade"):
    ledger = intake.ledger(symbol, stream)
    ledger.flush_run()
    return {name: number for name, number in ledger.counts.items() if number}


def seen(intake):
    ledger = intake.ledger("BTCUSDT", "aggTrade")
    ledger.flush_run()
    return list(ledger.own)


def test_ids_in_sequence_are_sent_once_each(outbox):
    intake = intake_on(outbox)
    intake.feed(lines(*(agg(number) for number in range(100, 110))), ORIGIN)
    assert outbox.ids() == list(range(100, 110))
    assert counts(intake) == {"received": 10, "delivered": 10}
    assert seen(intake) == [(100, 109)]
    assert intake.gaps.open_gaps() == []


def test_a_record_names_its_origin(outbox):
    intake_on(outbox).feed([(agg(7), 1_700_000_000_000_001, 1)], ORIGIN)
    (topic, key, _, _), record = outbox.records[0], outbox.trades()[0]
    assert (topic, key) == ("crypto.trades", b"BINANCE:SPOT:BTCUSDT")
    assert (record["event_id"], record["source"], record["side"]) == (
        "binance:spot:BTCUSDT:aggTrade:7",
        "WEBSOCKET",
        "SELL",
    )
    assert record["raw"] == agg(7).decode()
    assert record["ingest_time"].microsecond == 1


def test_identical_repeat_is_counted_and_dropped(outbox):
    intake = intake_on(outbox)
    intake.feed(lines(agg(1), agg(2), agg(1), agg(2)), ORIGIN)
    assert outbox.ids() == [1, 2]
    assert counts(intake) == {"received": 4, "delivered": 2, "duplicates": 2}


def test_other_payload_under_a_known_id_is_a_conflict(outbox):
    intake = intake_on(outbox)
    intake.feed(lines(agg(1), agg(1, price="9")), ORIGIN)
    [(key, raw, headers)] = outbox.letters()
    assert (key, raw) == ("binance:spot:BTCUSDT:aggTrade:1", agg(1, price="9"))
    assert headers["reason"] == "conflict"
    assert headers["stream_name"] == "btcusdt@aggTrade"
    assert (headers["position"], headers["received_at_us"]) == ("ws://test#2", str(NOW_US))
    assert counts(intake) == {"received": 2, "delivered": 1, "conflicts": 1}


def test_rest_and_stream_may_differ_in_event_time_and_unit(outbox):
    intake = intake_on(outbox)
    micro = agg(1).replace(b"1723161255343", b"1723161255343777")
    intake.feed(lines(agg(1), micro), ORIGIN)
    assert counts(intake)["duplicates"] == 1


def test_skipped_ids_open_a_gap_that_late_ids_close(outbox):
    intake = intake_on(outbox)
    intake.feed(lines(agg(1), agg(5)), ORIGIN)
    [gap] = intake.gaps.open_gaps()
    assert (gap.first_id, gap.last_id, gap.state, gap.name) == (2, 4, "open", "spot/BTCUSDT/aggTrade/2")
    intake.feed(lines(agg(2), agg(4)), ORIGIN)
    assert gap.state == "open"
    intake.feed(lines(agg(3), agg(6)), ORIGIN)
    assert (gap.state, gap.filled_ids, intake.gaps.open_gaps()) == ("filled", 3, [])
    assert sorted(outbox.ids()) == [1, 2, 3, 4, 5, 6]
    assert seen(intake) == [(1, 6)]


def test_futures_trades_skip_ids_without_a_gap(outbox):
    intake = intake_on(outbox, market="usdm")
    frame = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"T":1723161255343,"s":"BTCUSDT",'
    frame += b'"t":%d,"p":"1","q":"0.1","X":"MARKET","m":false}}'
    intake.feed(lines(frame % 1, frame % 9), ORIGIN)
    assert (outbox.ids(), intake.gaps.open_gaps()) == ([1, 9], [])


def test_rejected_id_counts_as_seen(outbox):
    intake = intake_on(outbox)
    intake.feed(lines(agg(1), agg(2, price="1.123456789"), agg(3)), ORIGIN)
    assert outbox.ids() == [1, 3]
    assert [headers["reason"] for _, _, headers in outbox.letters()] == ["decimal_out_of_range"]
    assert (seen(intake), list(intake.ledger("BTCUSDT", "aggTrade").rejected)) == ([(1, 3)], [(2, 2)])
    assert counts(intake) == {"received": 3, "delivered": 2, "rejected": 1}


def test_rejected_id_sent_twice_is_one_dead_letter(outbox):
    intake = intake_on(outbox)
    bad = agg(2, price="1.123456789")
    intake.feed(lines(agg(1), bad, bad), ORIGIN)
    assert len(outbox.letters()) == 1
    assert counts(intake) == {"received": 3, "delivered": 1, "rejected": 1, "duplicates": 1}


def test_unreadable_frames_are_dead_letters_under_their_hash(outbox):
    intake = intake_on(outbox)
    intake.feed(lines(b"\xff\xfe", b"{", b'{"result":null,"id":1}'), ORIGIN)
    assert [(key, headers["reason"]) for key, _, headers in outbox.letters()] == [
        (None, "not_utf8"),
        (None, "truncated"),
    ]
    assert counts(intake, "*", "*") == {"received": 3, "rejected": 2, "ignored": 1}


def test_ticks_are_sampled_by_event_time(outbox):
    intake = intake_on(outbox)
    ticker = (
        '{{"stream":"btcusdt@ticker","data":{{"e":"24hrTicker","E":{},"s":"BTCUSDT","c":"1","o":"1","h":"1","l":"1",'
        '"v":"1","q":"1"}}}}'
    )
    times = [1_723_161_255_000, 1_723_161_256_000, 1_723_161_259_999, 1_723_161_260_000, 1_723_161_259_998]
    intake.feed(lines(*(ticker.format(time).encode() for time in times)), ORIGIN)
    assert [record["event_id"].rsplit(":", 1)[1] for record in outbox.ticks()] == [
        "1723161255000000",
        "1723161260000000",
    ]
    assert counts(intake, stream="ticker") == {"received": 5, "delivered": 2, "sampled_out": 3}


def test_ticks_without_event_time_are_sampled_by_receive_time(outbox):
    frame = b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"1","B":"1","a":"1","A":"1"}}'
    received = [1_723_161_255_000_000, 1_723_161_259_999_999, 1_723_161_260_000_000]
    intake_on(outbox).feed([(frame % at, when, at) for at, when in enumerate(received)], ORIGIN)
    assert [record["update_id"] for record in outbox.ticks()] == [0, 2]


def test_every_element_of_an_array_is_an_event(outbox):
    mini = {"e": "24hrMiniTicker", "E": 1_723_161_255_000, "c": "1", "o": "1", "h": "1", "l": "1", "v": "1", "q": "1"}
    frame = json.dumps({"stream": "!miniTicker@arr", "data": [{**mini, "s": name} for name in ("BTCUSDT", "ETHUSDT")]})
    intake_on(outbox).feed(lines(frame.encode()), ORIGIN)
    assert [record["symbol"] for record in outbox.ticks()] == ["BTCUSDT", "ETHUSDT"]


def test_ids_of_other_writers_are_not_sent_again(outbox):
    def prepare(ledger):
        ledger.add_others({"seen": [[3, 4]]})

    intake = intake_on(outbox, prepare=prepare)
    intake.feed(lines(agg(1), agg(2), agg(3), agg(5)), ORIGIN)
    assert outbox.ids() == [1, 2, 5]
    assert intake.gaps.open_gaps() == []
    assert counts(intake) == {"received": 4, "delivered": 3, "duplicates": 1}


def test_a_second_pass_over_a_file_sends_nothing_and_counts_the_same(outbox):
    def prepare(ledger):
        ledger.restore({"seen": [[1, 3]], "counts": {"delivered": 3}, "offsets": {"0": 3}})
        ledger.start_pass()

    intake = intake_on(outbox, prepare=prepare, writer="file:abc", gaps=False)
    intake.feed(lines(agg(1), agg(2), agg(2), agg(3), agg(4), agg(5)), ORIGIN)
    assert outbox.ids() == [4, 5]
    assert counts(intake) == {"received": 6, "delivered": 5, "duplicates": 1}
    assert intake.sent_earlier == 3


def test_forced_pass_sends_again(outbox):
    def prepare(ledger):
        ledger.restore({"seen": [[1, 3]], "counts": {}, "offsets": {"0": 3}})
        ledger.start_pass()

    intake_on(outbox, prepare=prepare, is_forced=True, gaps=False).feed(lines(agg(1), agg(2), agg(3)), ORIGIN)
    assert outbox.ids() == [1, 2, 3]


def test_dead_letter_of_an_earlier_pass_is_not_sent_again(outbox):
    intake = intake_on(outbox)
    intake.known_dead_letters = {("ws://test#2", "not_an_object")}
    intake.feed(lines(b"1", b"2"), ORIGIN)
    assert [raw for _, raw, _ in outbox.letters()] == [b"1"]
    assert counts(intake, "*", "*")["rejected"] == 2


def test_full_queue_waits_and_loses_nothing(outbox):
    tries = []

    def full(topic, value, key):
        tries.append(topic)
        raise BufferError

    outbox.produce = full
    intake_on(outbox).feed(lines(agg(1), agg(2)), ORIGIN)
    assert (len(tries), outbox.ids()) == (2, [1, 2])


@given(st.lists(st.integers(1, 30), min_size=1))
def test_any_order_of_ids_sends_each_once(numbers):
    outbox = FakeOutbox()
    intake = intake_on(outbox)
    intake.feed(lines(*map(agg, numbers)), ORIGIN)
    assert sorted(outbox.ids()) == sorted(set(numbers))
    ledger = intake.ledger("BTCUSDT", "aggTrade")
    ledger.flush_run()
    gaps = IntervalSet((gap.first_id, gap.last_id) for gap in intake.gaps.open_gaps())
    # Ids below the first one are older than the stream, and never a gap.
    lost = set(range(numbers[0], max(numbers) + 1)) - set(numbers)
    assert all(number in gaps for number in lost)
    assert {n for low, high in ledger.missing(numbers[0], max(numbers)) for n in range(low, high + 1)} == lost
    assert ledger.counts["received"] == len(numbers)
