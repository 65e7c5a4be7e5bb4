"""What the benchmarks of the Connect sinks share: enriched trades in Kafka, a connector, the time until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import SERVICE_UNAVAILABLE
from io import BytesIO
from struct import pack
from typing import Any, TypeVar

import fastavro
import httpx

from bench.harness import Figures, alternate, at_least, compared, rounded
from bench.stand import Stand, renew_topic, until
from schemas.loading import topics, without_logical_types
from tickhouse.connectors.files import read
from tickhouse.connectors.plan import make_dead_letter_topics
from tickhouse.connectors.worker import Worker
from tickhouse.settings import Settings

TOPIC = "crypto.trades.enriched"
BOUND = at_least(0.5)
PAIRS = 3
RECORDS = 30_000
BATCH = 500
SYMBOLS = tuple(f"{base}USDT" for base in ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA"))
START_US = 1_754_000_000_000_000
HOUR_US = 3_600_000_000
SCALE = 10**8

Trade = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Side:
    """How one store is asked and filled: `has` an event, `floor` by its own bulk client."""

    connector: str
    has: Callable[[Trade], bool]
    prepare: Callable[[list[Trade]], Any]
    floor: Callable[[Any], None]


def trades(first: int, count: int) -> list[Trade]:
    """Return enriched trades with their values unscaled, ids from `first` on, symbols by turns."""
    return [trade(number) for number in range(first, first + count)]


def trade(number: int) -> Trade:
    """Return one enriched trade: decimals as integers of 10^-8 (10^-16), times in µs."""
    symbol, price, qty = SYMBOLS[number % len(SYMBOLS)], 6_168_599_000_000 + number * 1_003, 150_000 + number % 9_973
    time_us = START_US + number * 977
    return {
        "event_id": f"binance:spot:{symbol}:aggTrade:{number}", "exchange": "BINANCE", "market": "spot",
        "stream": "aggTrade", "symbol": symbol, "trade_id": number, "first_trade_id": number, "last_trade_id": number,
        "price": price, "qty": qty, "side": "SELL" if number % 2 else "BUY", "trade_time": time_us,
        "base": symbol[:3], "quote": "USDT", "pair": f"{symbol[:3]}-USDT", "quote_qty": price * qty,
        "is_sentinel": False, "minute": time_us - time_us % 60_000_000, "bucket": time_us - time_us % HOUR_US,
    }  # fmt: skip


class Feed:
    """Writes enriched trades as the streaming job does: Confluent frame, key by symbol."""

    def __init__(self, settings: Settings) -> None:
        from confluent_kafka import Producer

        answer = httpx.get(f"{settings.schema_registry_url}/subjects/{TOPIC}-value/versions/latest", trust_env=False)
        self._id = int(answer.json()["id"])
        self._schema = fastavro.parse_schema(without_logical_types("enriched_trade"))
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 5, "partitioner": "murmur2_random"}
        )

    def send(self, one: Trade) -> None:
        """Hand one trade over."""
        body = BytesIO()
        fastavro.schemaless_writer(body, self._schema, one | {name: _bytes(one[name]) for name in DECIMALS})
        self._producer.produce(
            TOPIC, pack(">bI", 0, self._id) + body.getvalue(), f"BINANCE:SPOT:{one['symbol']}".encode()
        )
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has everything."""
        self._producer.flush(60)


DECIMALS = ("price", "qty", "quote_qty")


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)


@contextmanager
def running(settings: Settings, names: Sequence[str]) -> Iterator[Worker]:
    """Deploy connectors on an empty topic; remove them at the end."""
    files = read()
    topic = topics()[TOPIC]
    renew_topic(settings, TOPIC, topic.partitions, topic.config)
    make_dead_letter_topics(settings, [files[name].dead_letters for name in names])
    with Worker(settings.connect_url) as worker:
        for name in names:
            worker.put(name, files[name].config)
        try:
            yield worker
        finally:
            for name in names:
                worker.delete(name)


def measure(bench: Stand, settings: Settings, side: Side, name: str) -> Figures:
    """Return records a second of the connector against those of the store's own client, by turns."""
    count, feed = bench.sized(RECORDS, 3_000), Feed(settings)
    first = iter(range(0, 10**9, count))
    with running(settings, [side.connector]) as worker:

        def fill(rows: list[Trade]) -> None:
            for one in rows:
                feed.send(one)
            feed.flush()

        def done(rows: list[Trade]) -> bool:
            return all(side.has(one) for one in rows[-len(SYMBOLS) :])

        def ours() -> float:
            rows = trades(next(first), count)
            worker.pause(side.connector)
            until(lambda: _is(worker, side.connector, "PAUSED"), "the connector to pause", timeout_s=60)
            fill(rows)
            began = time.perf_counter()
            worker.resume(side.connector)
            until(lambda: done(rows), f"{count} records in the store", timeout_s=300, every_s=0.05)
            return rounded(count / (time.perf_counter() - began))

        def floor() -> float:
            prepared = side.prepare(trades(next(first), count))
            began = time.perf_counter()
            side.floor(prepared)
            return rounded(count / (time.perf_counter() - began))

        warm_up = trades(next(first), count)
        fill(warm_up)
        until(lambda: done(warm_up), "the first records", timeout_s=300)
        pairs = alternate(bench.sized(PAIRS, 1), ours, floor, name=name)
    return compared(
        pairs,
        "records/s",
        how=f"alternate runs of {count} new enriched trades each, {len(SYMBOLS)} symbols on 3 partitions; ours: from "
        "the resumption of the paused connector (2 tasks, all as deployed) until the last event of "
        f"each symbol is in the store; floor: the store's Python client, finished values in batches of {BATCH}",
    )


def once_started(ask: Callable[[], T], otherwise: T) -> T:
    """Return what Elasticsearch answers, or `otherwise` while the index that the first record makes has no shard yet.

    Raises:
        ApiError: It refuses for another reason.
    """
    from elasticsearch import ApiError

    try:
        return ask()
    except ApiError as error:
        if error.status_code != SERVICE_UNAVAILABLE:
            raise
        return otherwise


def _is(worker: Worker, name: str, state: str) -> bool:
    status = worker.statuses()[name]
    return {status["connector"]["state"], *(task["state"] for task in status["tasks"])} == {state}


def batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield rows in batches of the size that the connectors use."""
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
