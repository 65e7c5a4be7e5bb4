"""The shortest honest loop from crypto.trades to candles, latest prices and Parquet.

python -m bench.workers.pipeline_floor FOLDER RECORDS ROUNDS

It consumes batches, reads each as one Avro block, sums it with polars, writes one Parquet file into
FOLDER, upserts the candles into PostgreSQL, and replaces the latest prices in Redis. It promises
nothing: no ids, no repeats, no bad records, no checksums.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, LiteralString

import polars as pl
import psycopg
import pyarrow as pa
import redis
from confluent_kafka import Consumer, TopicPartition

from bench.harness import ProcessMeter
from common.settings import Settings, load_settings
from common.topics import TRADES
from spark.streaming.trade_blocks import read_block, trade_types

BATCH = 50_000
_STREAM = ["market", "symbol", "stream"]
_BAR = [*_STREAM, "minute"]
_TABLE: LiteralString = """
CREATE TEMP TABLE candles (
    market text, symbol text, stream text, minute timestamptz, open numeric, high numeric, low numeric, close numeric,
    volume numeric, quote_volume numeric, trades bigint, buy_volume numeric, first_id bigint, last_id bigint,
    PRIMARY KEY (market, symbol, stream, minute)
);
CREATE TEMP TABLE stage (LIKE candles)
"""
_MERGE: LiteralString = """
INSERT INTO candles AS c SELECT * FROM stage ON CONFLICT (market, symbol, stream, minute) DO UPDATE SET
    open = CASE WHEN excluded.first_id < c.first_id THEN excluded.open ELSE c.open END,
    close = CASE WHEN excluded.last_id > c.last_id THEN excluded.close ELSE c.close END,
    high = greatest(c.high, excluded.high), low = least(c.low, excluded.low), volume = c.volume + excluded.volume,
    quote_volume = c.quote_volume + excluded.quote_volume, trades = c.trades + excluded.trades,
    buy_volume = c.buy_volume + excluded.buy_volume, first_id = least(c.first_id, excluded.first_id),
    last_id = greatest(c.last_id, excluded.last_id)
"""


def main(folder: str, records: str, rounds: str) -> None:
    """Print what each round took."""
    settings, taken = load_settings(), []
    with psycopg.connect(settings.database_dsn("owner")) as connection:
        connection.execute(_TABLE)
        for number in range(int(rounds)):
            meter = ProcessMeter()
            bars = passed(settings, connection, Path(folder), int(records), f"floor-{number}")
            taken.append({**meter.taken(), "records": int(records), "bars": bars})
    print(json.dumps(taken))


def passed(settings: Settings, connection: psycopg.Connection[Any], folder: Path, records: int, group: str) -> int:
    """Read the topic once; return the number of candle rows that were sent."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": group})
    parts = consumer.list_topics(TRADES, timeout=30).topics[TRADES].partitions
    consumer.assign([TopicPartition(TRADES, part, 0) for part in parts])
    bars, done = 0, 0
    with redis.Redis.from_url(settings.redis_dsn()) as latest:
        while done < records:
            messages = consumer.consume(min(BATCH, records - done), 1.0)
            if not messages:
                continue
            trades = read_block(pa.array([message.value() for message in messages], pa.binary()), list(trade_types()))
            bars += upserted(connection, candles(trades))
            replaced(latest, trades)
            written(folder / f"{done}.parquet", trades, messages)
            done += len(messages)
    consumer.close()
    return bars


def candles(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the bars of a batch."""
    number, price, qty = pl.col("trade_id"), pl.col("price"), pl.col("qty").cast(pl.Decimal(38, 8))
    product = pl.col("price").to_physical() * pl.col("qty").to_physical()
    return (
        trades.lazy()
        .filter((price > 0) & (pl.col("qty") > 0))
        .with_columns(minute=pl.col("trade_time").dt.truncate("1m"), product=product)
        .group_by(_BAR)
        .agg(
            open=price.get(number.arg_min()), high=price.max(), low=price.min(), close=price.get(number.arg_max()),
            volume=qty.sum(), quote_volume=pl.col("product").sum(),
            trades=(pl.col("last_trade_id") - pl.col("first_trade_id") + 1).sum(),
            buy_volume=qty.filter(pl.col("side") == "BUY").sum(), first_id=number.min(), last_id=number.max(),
        )
        .collect()
    )  # fmt: skip


def upserted(connection: psycopg.Connection[Any], bars: pl.DataFrame) -> int:
    """Merge the bars of a batch in one transaction; return their number."""
    quote = bars.columns.index("quote_volume")
    with connection.transaction():
        connection.execute("TRUNCATE stage")
        with connection.cursor().copy("COPY stage FROM STDIN") as copy:
            for row in bars.iter_rows():
                copy.write_row([*row[:quote], f"{row[quote]}e-16", *row[quote + 1 :]])
        connection.execute(_MERGE)
    return bars.height


def replaced(latest: redis.Redis, trades: pl.DataFrame) -> None:
    """Replace the latest price of each stream of a batch."""
    newest = trades.group_by(_STREAM).agg(pl.col("trade_id", "price").get(pl.col("trade_id").arg_max()))
    with latest.pipeline() as pipeline:
        for market, symbol, stream, number, price in newest.iter_rows():
            pipeline.hset(f"floor:{market}:{symbol}:{stream}", mapping={"trade_id": number, "price": str(price)})
        pipeline.execute()


def written(path: Path, trades: pl.DataFrame, messages: list[Any]) -> None:
    """Write a batch as one Parquet file, as bronze does."""
    from spark.streaming.lake_sink import bronze_parquet

    table = trades.to_arrow(compat_level=pl.CompatLevel.oldest())
    for name, values in (("kafka_partition", "partition"), ("kafka_offset", "offset")):
        table = table.append_column(name, pa.array([getattr(message, values)() for message in messages], pa.int64()))
    path.write_bytes(bronze_parquet(table))


if __name__ == "__main__":
    main(*sys.argv[1:])
