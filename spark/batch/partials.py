"""Compute partial 1m bars of a record batch of silver with Arrow kernels.

This runs in the task that reads the batch (docs/adr/0011-batch-files.md).

A record batch is cut into runs: consecutive rows of one market, symbol, stream and minute with
rising trade ids. Each run becomes one partial bar, and Spark merges these. So the bars are right
for any order of rows; rows in the order of silver give the fewest partial bars.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.integer]
KEY = ("market", "symbol", "stream", "minute")
# The columns of silver that are read for the bars.
TRADE_COLUMNS = (
    *("market", "symbol", "stream", "trade_id", "first_trade_id", "last_trade_id", "price", "qty", "side"),
    *("quote_qty", "is_sentinel", "minute"),
)
PARTIAL = {
    **{"market": "string", "symbol": "string", "stream": "string", "minute": "timestamp"},
    **dict.fromkeys(("open", "high", "low", "close"), "decimal(28,8)"),
    **{"volume": "decimal(38,8)", "quote_volume": "decimal(38,16)", "trades": "bigint", "agg_trades": "bigint"},
    **{"taker_buy_volume": "decimal(38,8)", "taker_buy_quote_volume": "decimal(38,16)"},
    **{"open_trade_id": "bigint", "close_trade_id": "bigint"},
}
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("market", "symbol", "stream")),
        ("minute", pa.timestamp("us", "UTC")),
        *((name, pa.decimal128(28, 8)) for name in ("open", "high", "low", "close")),
        *(("volume", pa.decimal128(38, 8)), ("quote_volume", pa.decimal128(38, 16))),
        *((name, pa.int64()) for name in ("trades", "agg_trades")),
        *(("taker_buy_volume", pa.decimal128(38, 8)), ("taker_buy_quote_volume", pa.decimal128(38, 16))),
        *((name, pa.int64()) for name in ("open_trade_id", "close_trade_id")),
    ]
)
# A tenth below the largest number with 38 digits, because the product that is compared with it is
# rounded.
_LARGEST = 9 * 10**37


def partial_bars(trades: pa.RecordBatch) -> pa.RecordBatch:
    """Return one partial bar per run, without sentinels.

    Args:
        trades: `TRADE_COLUMNS` of silver.

    Raises:
        OverflowError: A sum might exceed 38 digits, which Arrow would wrap silently.
    """
    rows = trades.filter(pc.invert(trades["is_sentinel"]))
    if not rows.num_rows:
        return pa.RecordBatch.from_pylist([], _SCHEMA)
    starts = _run_starts(rows)
    ends = np.append(starts[1:], rows.num_rows) - 1
    return pa.RecordBatch.from_arrays(
        [*(_decoded(rows[name].take(pa.array(starts))) for name in KEY), *_figures(rows, starts, ends)], schema=_SCHEMA
    )


def _run_starts(rows: pa.RecordBatch) -> Ints:
    ids = rows["trade_id"].to_numpy()
    is_new = np.ones(rows.num_rows, bool)
    is_new[1:] = ids[1:] <= ids[:-1]
    for name in KEY:
        codes = _codes(rows[name])
        is_new[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(is_new)


def _codes(column: pa.Array) -> Ints:
    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.int64()))
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return np.asarray(encoded.indices)


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _figures(rows: pa.RecordBatch, starts: Ints, ends: Ints) -> list[pa.Array]:
    sums = _sums(rows, starts)
    first, last = pa.array(starts), pa.array(ends)
    return [
        rows["price"].take(first), sums["price_max"], sums["price_min"], rows["price"].take(last),
        sums["qty_sum"], sums["quote_qty_sum"], sums["singles_sum"], pa.array(ends - starts + 1),
        sums["bought_sum"], sums["bought_quote_sum"], rows["trade_id"].take(first), rows["trade_id"].take(last),
    ]  # fmt: skip


def _sums(rows: pa.RecordBatch, starts: Ints) -> dict[str, pa.Array]:
    lengths = np.diff(np.append(starts, rows.num_rows))
    is_buy = pc.equal(_decoded(rows["side"]), "BUY")
    columns = {
        "run": pa.array(np.repeat(np.arange(len(starts)), lengths)),
        "price": rows["price"],
        "qty": _require_exact_sum(rows["qty"]),
        "quote_qty": _require_exact_sum(rows["quote_qty"]),
        "singles": pc.add(pc.subtract(rows["last_trade_id"], rows["first_trade_id"]), 1),
        "bought": pc.if_else(is_buy, rows["qty"], pa.scalar(0, rows["qty"].type)),
        "bought_quote": pc.if_else(is_buy, rows["quote_qty"], pa.scalar(0, rows["quote_qty"].type)),
    }
    wanted = [("price", "max"), ("price", "min")]
    wanted += [(name, "sum") for name in ("qty", "quote_qty", "singles", "bought", "bought_quote")]
    grouped = pa.table(columns).group_by("run", use_threads=False).aggregate(wanted)
    # Runs are numbered in their order, and with one thread the groups keep the order of their first
    # rows.
    return {name: grouped[name].combine_chunks() for name in grouped.column_names}


def _require_exact_sum(column: pa.Array) -> pa.Array:
    largest = pc.max(column).as_py()
    if int(largest.scaleb(column.type.scale)) * len(column) >= _LARGEST:
        raise OverflowError(f"{len(column)} quantities up to {largest} may add up to more than 38 digits.")
    return column
