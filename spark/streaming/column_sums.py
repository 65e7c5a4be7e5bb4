"""The partial sums of a large batch, computed by column.

The result is that of `partial_sums.partials`, to the last digit, without Python code per trade but
for the checksum. Sums are 128-bit integers. Where one could overflow, `column_sums` declines, and
the trades are summed one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.contracts import COIN_M, contract_size
from spark.streaming.partial_sums import (
    MINUTE_US,
    PARTIAL_ARROW,
    Ranges,
    SymbolStream,
    TradeReader,
    partials,
    scaled_decimal,
)
from spark.streaming.trade_blocks import FEWEST_IN_BLOCK, decode_trades

Task = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]
Seen = Mapping[SymbolStream, Ranges]

_STREAM: Final = list(SymbolStream._fields)
_COLUMNS: Final = (
    *("event_id", *_STREAM, "trade_id", "first_trade_id", "last_trade_id", "price", "qty", "side", "trade_time"),
)
_BAR: Final = ["of", "minute_us", "is_fresh"]
_INT64: Final = 2**63
_INT128: Final = 2**127
# Sums must fit decimal(38,16) and decimal(38,8).
_END_OF_SUM: Final = 10**38
_E16: Final = 10**16


def partial_sums_task(reader: TradeReader, seen: Seen, *, is_newest_only: bool = False) -> Task:
    """Return the body of a Spark task: a column of Kafka values in, rows of `PARTIAL_ARROW` out.

    Args:
        reader: Reads single records.
        seen: Ids that the store holds, as for `partials`.
        is_newest_only: Whether only fresh rows of the newest minute of each stream are wanted, and
            no checksums. A small batch has all rows nevertheless.
    """

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        columns = [batch.column(0) for batch in batches]
        rows = sums_of(reader, columns, seen, is_newest_only=is_newest_only)
        if rows:
            yield pa.RecordBatch.from_pylist(rows, PARTIAL_ARROW)

    return task


def sums_of(
    reader: TradeReader, values: list[pa.Array], seen: Seen, *, is_newest_only: bool = False
) -> list[dict[str, Any]]:
    """Return the partial sums of Kafka values, by column where that is worth it."""
    if sum(map(len, values)) < FEWEST_IN_BLOCK:
        return partials(reader.facts(value for column in values for value in column.to_pylist()), seen)
    trades = pl.concat([decode_trades(reader, column, _COLUMNS) for column in values])
    rows = column_sums(trades, seen, is_newest_only=is_newest_only)
    if rows is None:
        return partials(reader.facts(value for column in values for value in column.to_pylist()), seen)
    return rows


def column_sums(trades: pl.DataFrame, seen: Seen, *, is_newest_only: bool = False) -> list[dict[str, Any]] | None:
    """Return the partial sums of decoded trades, or None where 128 bits may not hold a sum.

    Args:
        trades: Trades in the order of their offsets; of two with the same id the first counts.
        seen: Ids that the store holds, as for `partials`.
        is_newest_only: As for `partial_sums_task`.
    """
    if not trades.height:
        return []
    streams = trades.select(_STREAM).unique(maintain_order=True).with_row_index("of")
    keys = [SymbolStream(*row) for row in streams.select(_STREAM).iter_rows()]
    scaled = _with_quotes(_scaled(trades.join(streams, on=_STREAM, how="left", maintain_order="left")), keys)
    if scaled is None:
        return None
    # Of a trade that came twice the first counts, whatever the second one says.
    single = scaled.unique(["of", "trade_id"], keep="first", maintain_order=True)
    marked = single.with_columns(is_fresh=_is_fresh(single, keys, seen))
    marked = _newest(marked) if is_newest_only else marked.with_columns(digest=_digests(marked))
    return [_row(keys[bar["of"]], bar) for bar in _bars(marked, is_newest_only=is_newest_only)]


def _scaled(trades: pl.DataFrame) -> pl.DataFrame:
    """Add price and quantity in 10^-8, the time in µs, the minute and `is_real`."""
    return trades.with_columns(
        p=pl.col("price").to_physical(), q=pl.col("qty").to_physical(), time_us=pl.col("trade_time").to_physical()
    ).with_columns(
        minute_us=pl.col("time_us") // MINUTE_US * MINUTE_US,
        is_real=(pl.col("p") > 0) & (pl.col("q") > 0),
        singles=pl.col("last_trade_id") - pl.col("first_trade_id") + 1,
    )


def _with_quotes(trades: pl.DataFrame, keys: list[SymbolStream]) -> pl.DataFrame | None:
    """Add `quote` as `schemas.contracts.quote_quantity` does; drop the trades for which it is None.

    Returns:
        None when a number is too large for sums in 128 bits.
    """
    price, qty = trades.select(pl.col("p", "q").abs().max()).row(0)
    sizes = [contract_size(key.symbol) if key.market == COIN_M else 0 for key in keys]
    if max(price, qty) >= _INT64 or 2 * max(sizes) * qty * _E16 + price >= _INT128:
        return None
    quoted = trades.with_columns(quote=_coin_m_quote(sizes) if any(sizes) else pl.col("p") * pl.col("q"))
    if quoted.select(pl.col("quote").abs().max()).item() * trades.height >= _END_OF_SUM:
        return None
    is_worth_nothing = pl.col("is_real") & (pl.col("quote") == 0)
    return quoted.filter(~is_worth_nothing)


def _coin_m_quote(sizes: list[int]) -> pl.Expr:
    """Return the quote quantity where some streams have a contract size; that of others is 0."""
    size = pl.col("of").replace_strict(dict(enumerate(sizes)), return_dtype=pl.Int128)
    # Half up: (2 x contracts x size + price) / (2 x price).
    divisor = pl.when(pl.col("p") > 0).then(2 * pl.col("p")).otherwise(1)
    coins = (2 * pl.col("q") * size * _E16 + pl.col("p")) // divisor
    of_contracts = pl.when("is_real").then(coins).otherwise(pl.lit(0, pl.Int128))
    return pl.when(size == 0).then(pl.col("p") * pl.col("q")).otherwise(of_contracts)


def _is_fresh(trades: pl.DataFrame, keys: list[SymbolStream], seen: Seen) -> pl.Series:
    """Return for each trade whether the store does not hold its id."""
    is_fresh = np.ones(trades.height, np.bool_)
    of, ids = trades["of"].to_numpy(), trades["trade_id"].to_numpy()
    for number, key in enumerate(keys):
        if ranges := seen.get(key):
            lows, highs = np.array(ranges, np.int64).T
            rows = np.flatnonzero(of == number)
            at = np.searchsorted(lows, ids[rows], "right") - 1
            is_fresh[rows] = (at < 0) | (ids[rows] > highs[at])
    return pl.Series(is_fresh)


def _newest(trades: pl.DataFrame) -> pl.DataFrame:
    """Keep the fresh real trades of the newest minute of each stream."""
    candidates = trades.filter("is_fresh", "is_real")
    return candidates.filter(pl.col("minute_us") == pl.col("minute_us").max().over("of"))


def _digests(trades: pl.DataFrame) -> pl.Series:
    """Return the summand of each trade's checksum (`TradeFacts.digest`); 0 for a sentinel."""
    fields = (pl.col("trade_id"), pl.col("price"), pl.col("qty"), pl.col("side"), pl.col("time_us"))
    texts = trades.select(pl.concat_str([field.cast(pl.String) for field in fields], separator="|")).to_series()
    md5, is_real = hashlib.md5, trades["is_real"]
    found = [int(md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16) for text in texts]
    return pl.Series(found, dtype=pl.Int64) * is_real.cast(pl.Int64)


def _bars(trades: pl.DataFrame, *, is_newest_only: bool) -> Iterator[dict[str, Any]]:
    """Yield the sums of each stream, minute and freshness, with the ids as runs."""
    real, number = pl.col("is_real"), pl.col("trade_id")
    is_buy = real & (pl.col("side") == "BUY")
    first, last = (number.filter(real).arg_min(), number.filter(real).arg_max())

    def at(name: str, place: pl.Expr) -> pl.Expr:
        return pl.col(name).filter(real).get(place, null_on_oob=True)

    def total(name: str, rows: pl.Expr) -> pl.Expr:
        return pl.col(name).filter(rows).cast(pl.Int128).sum()

    sums = trades.group_by(_BAR, maintain_order=True).agg(
        number.sort().alias("ids"),
        number.filter(real).sort().alias("event_ids"),
        real.sum().alias("events"),
        pl.col("singles").filter(real).sum().alias("trades"),
        open_trade_id=at("trade_id", first),
        close_trade_id=at("trade_id", last),
        open=at("p", first),
        high=pl.col("p").filter(real).max(),
        low=pl.col("p").filter(real).min(),
        close=at("p", last),
        volume=total("q", real),
        quote_volume=total("quote", real),
        taker_buy_volume=total("q", is_buy),
        taker_buy_quote_volume=total("quote", is_buy),
        checksum=pl.lit(0) if is_newest_only else total("digest", real),
        last_event_id=at("event_id", last),
        last_side=at("side", last),
        last_qty=at("q", last),
        last_trade_time_us=at("time_us", last),
    )
    names = ("ids", "event_ids")
    runs = {name: [_runs(numbers) for numbers in sums[name]] for name in names}
    for number_of_bar, bar in enumerate(sums.drop(names).iter_rows(named=True)):
        yield bar | {name: runs[name][number_of_bar] for name in names}


def _runs(numbers: pl.Series) -> list[dict[str, int]]:
    """Return sorted distinct numbers as inclusive runs of consecutive numbers."""
    ids: npt.NDArray[np.int64] = numbers.to_numpy()
    breaks = np.flatnonzero(np.diff(ids) != 1)
    starts = ids[np.concatenate(([0], breaks + 1))] if len(ids) else ids
    ends = ids[np.concatenate((breaks, [len(ids) - 1]))] if len(ids) else ids
    return [{"lo": lo, "hi": hi} for lo, hi in zip(starts.tolist(), ends.tolist(), strict=True)]


_SCALES: Final = {
    **dict.fromkeys(("open", "high", "low", "close", "last_qty", "volume", "taker_buy_volume"), 8),
    **dict.fromkeys(("quote_volume", "taker_buy_quote_volume"), 16),
}


def _row(stream: SymbolStream, bar: dict[str, Any]) -> dict[str, Any]:
    """Return a bar as a row of `PARTIAL_ARROW`; one of sentinels only has no prices."""
    cells = {name: cell for name, cell in bar.items() if name != "of" and cell is not None}
    exact = {name: scaled_decimal(cells[name], scale) for name, scale in _SCALES.items() if name in cells}
    return {**stream._asdict(), **cells, **exact, "checksum": str(cells["checksum"])}
