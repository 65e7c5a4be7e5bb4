"""Enriched trades per second by Connect into Elasticsearch, against the official helpers.bulk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bench.bench_stack import BenchStack
from bench.harness import Figures
from bench.sinks import BATCH, BOUND, EnrichedRow, SinkSide, measure, once_started
from common.clients.elasticsearch import connected

__all__ = ["BOUND", "run"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def run(bench: BenchStack) -> Figures:
    """Measure both sides."""
    from elasticsearch.helpers import bulk

    settings = bench.up("connect", "elasticsearch")
    with connected(settings, "writer") as writer, connected(settings, "reader") as reader:

        def floor(prepared: list[dict[str, Any]]) -> None:
            bulk(writer, prepared, chunk_size=BATCH)

        def has(trade: EnrichedRow) -> bool:  # by id, so it is found without a refresh as soon as it is acknowledged
            return once_started(lambda: bool(reader.exists(index=index(trade), id=trade["event_id"])), otherwise=False)

        side = SinkSide("elasticsearch-trades", has, lambda rows: [action(trade) for trade in rows], floor)
        return measure(bench, settings, side, "connect_elasticsearch")


def index(trade: EnrichedRow) -> str:
    """Return the index of a trade's month."""
    return f"crypto-trades-{_EPOCH + timedelta(microseconds=trade['trade_time']):%Y.%m}"


def action(trade: EnrichedRow) -> dict[str, Any]:
    """Return the document that the connector would write, as the client's helper takes it."""
    source = dict(trade)
    for name, places in (("price", 8), ("qty", 8), ("quote_qty", 16)):
        source[name] = format(Decimal(trade[name]).scaleb(-places), "f")
    for name in ("trade_time", "minute", "bucket"):
        source[name] = f"{_EPOCH + timedelta(microseconds=trade[name]):%Y-%m-%dT%H:%M:%S.%fZ}"
    return {"_index": index(trade), "_id": trade["event_id"], "_source": source}
