"""Events lost when the exchange sends the live producer 10,000 events per second for a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from bench.bench_stack import (
    BenchProgram,
    BenchStack,
    LocalExchange,
    count_records,
    empty_topics,
    local_exchange,
    wait_for,
)
from bench.harness import Figures, at_most, rounded, say
from bench.market import live_config
from bench.pipeline import live_producer, producer_metrics
from common.settings import Settings
from common.topics import GAPS, TRADES

BOUND = at_most(0.0)
EVENTS_PER_SECOND, SECONDS = 10_000, 60
SAMPLE_EVERY_S = 0.5
DRAIN_S = 180.0


def run(bench: BenchStack) -> Figures:
    """Count offered ids, ids in Kafka and ids of open gaps."""
    settings = bench.up("kafka", "registry")
    empty_topics(settings)
    seconds = bench.sized(SECONDS, 10)
    # As Binance does: a client that reads too slowly is disconnected.
    config = live_config(EVENTS_PER_SECOND, seconds, slow_client="cut")
    with local_exchange(bench, "burst", config) as market, live_producer(bench, "burst") as producer:
        wait_for(lambda: market.state()["state"] == "playing", "the market to play", timeout_s=60)
        offered_at, drained, peaks = follow(market, producer, settings, EVENTS_PER_SECOND * seconds)
        offered, account = offered_ids(market)
        peak_rss_mib = producer.peak_rss_mib()
        code = producer.end()
    found = list(kafka_ids(settings))
    in_kafka, gaps = set(found), open_gap_ids(settings)
    lost = len(offered - in_kafka - gaps)
    return {
        "ours": lost, "floor": 0, "ratio": float(lost), "unit": "lost events", "failed": code != 0,
        "offered": len(offered), "in_kafka": len(in_kafka), "repeats_in_kafka": len(found) - len(in_kafka),
        "in_open_gaps": len(offered & gaps - in_kafka), "never_offered": len(in_kafka - offered),
        "offered_per_s": rounded(len(offered) / offered_at),
        "slow_clients_cut": account["counts"].get("slow_clients_cut", 0),
        "drain_s": drained, **peaks, "producer_exit_code": code,
        "producer_cpu_s": rounded(producer.usage.ru_utime + producer.usage.ru_stime),
        "producer_peak_rss_mib": peak_rss_mib,
        "how": f"local exchange in real time, {EVENTS_PER_SECOND} aggTrades/s (and tickers) for {seconds} s on one "
        "connection to `producer live`; lost = offered ids (the exchange's account) - ids read from crypto.trades - "
        "ids of open gaps; "
        "drain_s: from the last frame offered until Kafka has every id (-1: not within "
        f"{DRAIN_S:.0f} s); offered_per_s: what the exchange really managed on this machine",
    }  # fmt: skip


def follow(
    market: LocalExchange, producer: BenchProgram, settings: Settings, expected: int
) -> tuple[float, float, dict[str, float]]:
    """Watch until all is offered and in Kafka; return seconds of both, and the peaks."""
    began, done_at = time.monotonic(), 0.0
    peaks = {"max_inbox_frames": 0.0, "max_unacknowledged": 0.0}
    while True:
        producer.require_alive()
        metrics, now = producer_metrics(), time.monotonic()
        peaks["max_inbox_frames"] = max(peaks["max_inbox_frames"], metrics.get("queue_depth_frames", 0.0))
        peaks["max_unacknowledged"] = max(peaks["max_unacknowledged"], metrics.get("lag_records", 0.0))
        if not done_at:
            if market.state()["state"] == "done":
                done_at = now
                say(f"    offered after {now - began:.1f} s; {peaks}")
        elif is_drained(metrics, count_records(settings, TRADES), expected) or now - done_at > DRAIN_S:
            is_late = now - done_at > DRAIN_S
            return done_at - began, -1.0 if is_late else round(now - done_at, 1), peaks
        time.sleep(SAMPLE_EVERY_S)


def is_drained(metrics: dict[str, float], in_kafka: int, expected: int) -> bool:
    """Return whether Kafka has every trade, nothing waits to be encoded, and no gap is open.

    `lag_records` cannot be used: ledger snapshots of an idle producer count as unacknowledged until
    its next poll.
    """
    return metrics.get("queue_depth_frames", 1) + metrics.get("gaps_open", 1) == 0 and in_kafka >= expected


def offered_ids(market: LocalExchange) -> tuple[set[str], dict[str, Any]]:
    """Return the event id of every trade that the exchange offered, and its truth document."""
    from standins.exchange.oracle import MarketOracle

    account = market.get("/tickhouse/truth")
    return {trade.event_id for trade in MarketOracle.from_document(account).trades()}, account


def kafka_ids(settings: Settings) -> Iterator[str]:
    """Yield the event id of every record of crypto.trades, its first Avro field after 5 bytes."""
    for _, value in records(settings, TRADES):
        size, at, shift = 0, 5, 0
        while True:
            byte = value[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        size >>= 1  # zig-zag of a length, which is not negative
        yield value[at : at + size].decode()


def open_gap_ids(settings: Settings) -> set[str]:
    """Return the event ids of all gaps that are not filled."""
    latest: dict[bytes, dict[str, Any]] = {}
    for key, value in records(settings, GAPS):
        latest[key] = json.loads(value)
    return {
        f"binance:{gap['market']}:{gap['symbol']}:{gap['stream']}:{number}"
        for gap in latest.values()
        if gap["state"] == "open"
        for number in range(gap["first_id"], gap["last_id"] + 1)
    }


def records(settings: Settings, topic: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of every record of a topic."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "bench", "enable.auto.commit": False}
    )
    try:
        parts = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        ends = {part: consumer.get_watermark_offsets(TopicPartition(topic, part), timeout=30)[1] for part in parts}
        left = {part for part, end in ends.items() if end > 0}
        consumer.assign([TopicPartition(topic, part, 0) for part in left])
        while left:
            for message in consumer.consume(10_000, timeout=0.2):
                if message.error() is not None:
                    continue
                if (message.offset() or 0) >= ends[message.partition() or 0] - 1:
                    left.discard(message.partition() or 0)
                yield message.key() or b"", message.value() or b""
    finally:
        consumer.close()
