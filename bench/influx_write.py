"""Points/s into InfluxDB without overwriting a trade, against the client's batching write."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bench.bench_stack import BenchStack
from bench.harness import Figures, alternate, at_least, compared, ratio_of, rounded
from bench.postgres_upsert import facts
from common.clients import influxdb
from common.settings import Settings
from schemas.contracts import quote_quantity
from spark.streaming.partial_sums import TradeFacts
from spark.streaming.series_points import MEASUREMENT, QUOTE_SCALE, SCALE, Point, point_of
from spark.streaming.series_sink import SeriesStore

BOUND = at_least(0.6)
PAIRS = 5
BATCH = 10_000
# Older than the bars of a second are kept, younger than those of a minute.
LATE_DAYS = 30
DAY_US = 86_400_000_000
_BYTES = 12


def run(bench: BenchStack) -> Figures:
    """Measure encoding and writing of the same trades, each side into an empty bucket."""
    settings = bench.up("influxdb")
    made = [*facts(bench.sized(200_000, 20_000), 600)]
    # The server's own clock decides which bars it keeps, so the trades get times of today.
    trades, old = until(made, time.time_ns() // 1000), until(made, time.time_ns() // 1000 - LATE_DAYS * DAY_US)
    batches = batches_of(trades)
    on_time_us = min(trade.time_us for trade in trades)

    def side(write: Callable[[], None]) -> Callable[[], dict[str, float]]:
        def timed() -> dict[str, float]:
            empty(settings)
            began = time.monotonic()
            write()
            seconds = time.monotonic() - began
            _require_all(settings, len(trades))
            return {"per_s": rounded(len(trades) / seconds)}

        return timed

    mine = side(lambda: ours(settings, batches, on_time_us))
    theirs, late = side(lambda: floor(settings, batches)), side(lambda: ours(settings, batches_of(old), None))
    mine(), theirs()  # warm-up
    pairs = alternate(bench.sized(PAIRS, 2), mine, theirs, name="influx_write")
    with_roll_ups = alternate(1, late, theirs, name="influx_write late")
    return compared(
        [(one["per_s"], other["per_s"]) for one, other in pairs],
        "points per s",
        ratio_late=rounded(ratio_of([(one["per_s"], other["per_s"]) for one, other in with_roll_ups])),
        how=f"alternate runs into an empty bucket, {len(trades)} trades in batches of {BATCH}; ours: encoding as in a "
        "Spark task and SeriesStore.write (question for points that are alike, mark of the day, write); floor: one "
        "Point per trade with the same tags and fields through the client's write API in its batching mode, same "
        "batch size, flushed; `ratio_late`: trades of an old day, whose bars of a minute are computed in the batch",
    )


def until(trades: list[TradeFacts], newest_us: int) -> list[TradeFacts]:
    """Return the trades moved in time, so that the newest is of `newest_us`."""
    shift = newest_us - max(trade.time_us for trade in trades)
    return [trade._replace(time_us=trade.time_us + shift) for trade in trades]


def batches_of(trades: list[TradeFacts]) -> list[list[TradeFacts]]:
    """Return the trades in batches, in order."""
    return [trades[at : at + BATCH] for at in range(0, len(trades), BATCH)]


def empty(settings: Settings) -> None:
    """Remove every point."""
    with influxdb.connected(settings, "writer") as client:
        for bucket in influxdb.BUCKETS:
            start, stop = datetime(1970, 1, 2, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
            client.delete_api().delete(start, stop, "", bucket=bucket, org=settings.influxdb_org)


def _require_all(settings: Settings, points: int) -> None:
    query = (
        f'from(bucket: "{influxdb.TRADES}") |> range(start: 0, stop: 1d)'
        ' |> filter(fn: (r) => r._field == "trade_id") |> count() |> group() |> sum()'
    )
    with influxdb.connected(settings, "reader") as client:
        found = sum(int(row["_value"]) for row in influxdb.rows_of(client, query))
    if found != points:
        raise AssertionError(f"Expected {points} points, was {found}.")


def ours(settings: Settings, batches: list[list[TradeFacts]], on_time_us: int | None) -> None:
    """Write every batch as query `series` does; with a time, no trade is late."""
    store = SeriesStore(settings) if on_time_us is None else SeriesStore(settings, now_us=lambda: on_time_us)
    try:
        for batch in batches:
            store.write([_point(trade, offset) for offset, trade in enumerate(batch)])
    finally:
        store.close()


def _point(trade: TradeFacts, offset: int) -> Point:
    price, qty = (units.to_bytes(_BYTES, signed=True) for units in (trade.price, trade.qty))
    ids = {"trade_id": trade.trade_id, "first_trade_id": trade.trade_id, "last_trade_id": trade.trade_id}
    names = {"exchange": "BINANCE", **trade.stream._asdict(), "side": trade.side}
    point = point_of(names | ids | {"price": price, "qty": qty, "trade_time": trade.time_us}, 0, offset)
    if point is None:
        raise AssertionError(f"{trade.event_id} is no point.")
    return point


def floor(settings: Settings, batches: list[list[TradeFacts]]) -> None:
    """Write one `Point` per trade through the client's batching write API."""
    from influxdb_client import WriteOptions

    options = WriteOptions(batch_size=BATCH, flush_interval=1_000)
    with influxdb.connected(settings, "writer") as client, client.write_api(write_options=options) as api:
        for batch in batches:
            api.write(influxdb.TRADES, record=[client_point(trade) for trade in batch])


def client_point(trade: TradeFacts) -> Any:
    """Return a trade as a point of the client, with the tags and fields of ours."""
    from influxdb_client import Point as ClientPoint
    from influxdb_client import WritePrecision

    point = ClientPoint(MEASUREMENT).tag("exchange", "BINANCE").tag("side", trade.side)
    for name, value in trade.stream._asdict().items():
        point = point.tag(name, value)
    for name in ("trade_id", "first_trade_id", "last_trade_id"):
        point = point.field(name, trade.trade_id)
    quote = quote_quantity(trade.stream.market, trade.stream.symbol, trade.price, trade.qty) or 0
    exact = {"price_e8": trade.price, "qty_e8": trade.qty}
    floats = {"price": trade.price / SCALE, "qty": trade.qty / SCALE, "quote_qty": quote / QUOTE_SCALE}
    for field, number in {**exact, **floats}.items():
        point = point.field(field, number)
    return point.time(trade.time_us * 1000 + trade.trade_id % 1000, WritePrecision.NS)
