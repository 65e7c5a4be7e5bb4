"""An outbox that keeps its records, an intake that uses it, and ledgers of given ids."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from common.topics import PRODUCER_DEAD_LETTERS, TICKS, TRADES
from producer.encoding.events import Encoder, decode
from producer.ledger.gaps import GapBook
from producer.ledger.stream_ledger import IdStatus, StreamLedger
from producer.parsing.frames import identify, parse_frame
from producer.writer.intake import Intake, Origin

NOW_US = 1_723_161_255_343_000
IDS = st.lists(st.integers(1, 40), max_size=40)


class FakeOutbox:
    def __init__(self):
        self.records = []
        self.flushes = []

    def produce(self, topic, value, key):
        self.records.append((topic, key, value, {}))

    def send(self, topic, value, key, headers=None):
        self.records.append((topic, key, value, dict(headers or [])))

    def send_dead_letter(self, raw, headers, key=None):
        self.records.append((PRODUCER_DEAD_LETTERS, key, raw, headers))

    def poll(self, timeout_s=0.0):
        pass

    def queued(self):
        return 0

    def flush(self):
        self.flushes.append(len(self.records))

    def trades(self):
        return [decode("trade", value) for topic, _, value, _ in self.records if topic == TRADES]

    def ticks(self):
        return [decode("tick", value) for topic, _, value, _ in self.records if topic == TICKS]

    def letters(self):
        return [(key, value, headers) for topic, key, value, headers in self.records if topic == PRODUCER_DEAD_LETTERS]

    def ids(self):
        return [record["trade_id"] for record in self.trades()]


ORIGIN = Origin("WEBSOCKET", parse_frame, identify, lambda at: f"ws://test#{at}")


def intake_on(outbox, *, prepare=lambda ledger: None, gaps=None, is_forced=False, market="spot", writer="live"):
    return Intake(
        Encoder(market, trade_schema_id=1, tick_schema_id=2),
        outbox,
        writer,
        gaps=GapBook() if gaps is None else (gaps or None),
        sample_us=5_000_000,
        clock=lambda: NOW_US,
        prepare=prepare,
        is_forced=is_forced,
    )


def agg(number, *, price="1.5", symbol="BTCUSDT", time_ms=1_723_161_255_343):
    return (
        f'{{"stream":"{symbol.lower()}@aggTrade","data":{{"e":"aggTrade","E":{time_ms},"s":"{symbol}","a":{number},'
        f'"p":"{price}","q":"2","f":{number},"l":{number},"T":{time_ms},"m":true,"M":true}}}}'
    ).encode()


def lines(*frames, received_us=None):
    return [(raw, received_us, at) for at, raw in zip(itertools.count(1), frames)]  # count is endless


def ledger_of(*ids, writer="live"):
    ledger = StreamLedger("spot", "BTCUSDT", "aggTrade", writer)
    for number in ids:
        if ledger.status_of(number) is IdStatus.NEW:
            ledger.take(number, "delivered")
    return ledger
