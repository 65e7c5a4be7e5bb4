"""Decode trades inside the tasks that write them to bronze.

The JVM passes the bytes of Kafka to Python and decodes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.contracts import COIN_M, quote_quantity
from spark.lake_target import LakeTarget
from spark.streaming.lake_sink import Task, write_rows
from spark.streaming.partial_sums import TradeReader
from spark.streaming.trade_blocks import decode_trades, trade_types

_INT64 = 2**63
_ARROW_TYPES = {
    pl.String: pa.string(),
    pl.Int64: pa.int64(),
    pl.Decimal: pa.decimal128(28, 8),
    pl.Datetime: pa.timestamp("us", "UTC"),
}


def write_trades(target: LakeTarget, reader: TradeReader) -> Task:
    """Return the body of a Spark task that decodes trades, then does what `write_files` does.

    Its input columns are those of Kafka: `value`, `partition` and `offset`.
    """

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        decoded = [decoded_trades(reader, batch) for batch in batches if batch.num_rows]
        if decoded:
            yield from write_rows(target, pa.concat_tables(decoded))

    return task


def decoded_trades(reader: TradeReader, batch: pa.RecordBatch) -> pa.Table:
    """Return one row per record, with the columns that `write_files` takes.

    A trade whose quote quantity no store can hold is not good, as one that does not decode: its
    fields are null.
    """
    trades = decode_trades(reader, batch["value"], list(trade_types()))
    trades = trades.filter(_has_quote_quantity(trades))
    at = trades["at"].to_numpy()
    fields = trades.drop("at").to_arrow(compat_level=pl.CompatLevel.oldest()).cast(_trade_schema())
    if trades.height < batch.num_rows:
        rows = np.full(batch.num_rows, -1)
        rows[at] = np.arange(trades.height)
        fields = fields.take(pa.array(rows, mask=rows < 0))
    is_good = np.zeros(batch.num_rows, np.bool_)
    is_good[at] = True
    places = {"kafka_partition": batch["partition"], "kafka_offset": batch["offset"], "is_good": pa.array(is_good)}
    for name, column in places.items():
        fields = fields.append_column(name, column)
    return fields


def _trade_schema() -> pa.Schema:
    return pa.schema([(name, _ARROW_TYPES[type(kind)]) for name, kind in trade_types().items()])


def _has_quote_quantity(trades: pl.DataFrame) -> pl.Series:
    """Return which trades have a quote quantity (`schemas.contracts.quote_quantity`).

    A product of two 64-bit numbers always fits; the few others are computed one by one.
    """
    units = trades.select("market", "symbol", p=pl.col("price").to_physical(), q=pl.col("qty").to_physical())
    is_small = (pl.col("p").abs() < _INT64) & (pl.col("q").abs() < _INT64)
    has_quote = units.select(is_small & (pl.col("market") != COIN_M)).to_series().to_numpy().copy()
    rest = np.flatnonzero(~has_quote)
    has_quote[rest] = [quote_quantity(*row) is not None for row in units[rest].iter_rows()]
    return pl.Series(has_quote)
