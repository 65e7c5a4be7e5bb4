"""Enriched trades a second by Connect into Elasticsearch, against helpers.bulk of the official client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bench.harness import Figures
from bench.sinks import BATCH, BOUND, Side, Trade, measure, once_started
from bench.stand import Stand
from tickhouse.stores.elasticsearch import connected

__all__ = ["BOUND", "run"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def run(bench: Stand) -> Figures:
    """Measure both sides."""
    from elasticsearch.helpers import bulk

    settings = bench.up("connect", "elasticsearch")
    with connected(settings, "writer") as writer, connected(settings, "reader") as reader:

        def floor(prepared: list[dict[str, Any]]) -> None:
            bulk(writer, prepared, chunk_size=BATCH)

        def has(one: Trade) -> bool:  # by id: as soon as it is acknowledged, whatever the refresh
            return once_started(lambda: bool(reader.exists(index=index(one), id=one["event_id"])), otherwise=False)

        side = Side("elasticsearch-trades", has, lambda rows: [action(one) for one in rows], floor)
        return measure(bench, settings, side, "connect_elasticsearch")


def index(one: Trade) -> str:
    """Return the index of a trade's day."""
    return f"crypto-trades-{_EPOCH + timedelta(microseconds=one['trade_time']):%Y.%m.%d}"


def action(one: Trade) -> dict[str, Any]:
    """Return the document that the connector would write, as the client's helper takes it."""
    source = dict(one)
    for name, places in (("price", 8), ("qty", 8), ("quote_qty", 16)):
        source[name] = format(Decimal(one[name]).scaleb(-places), "f")
    for name in ("trade_time", "minute", "bucket"):
        source[name] = f"{_EPOCH + timedelta(microseconds=one[name]):%Y-%m-%dT%H:%M:%S.%fZ}"
    return {"_index": index(one), "_id": one["event_id"], "_source": source}
