"""Merge trades into the candles of PostgreSQL, exactly once by event id.

Delivery guarantee: exactly once. Spark may deliver a batch again, with other limits, or much later.
`market.trade_ranges` holds the ids that are in the candles already. One transaction does all of
this:

1. It adds the ids of the batch to `trade_ranges`, block by block, which locks the blocks that the
   batch touches.
2. When a block already holds one of the ids, it refuses the whole batch. Another driver was faster,
   and the batch is computed again.
3. It copies the partial sums to a stage table and merges them into `candles_1m`, each bar once per
   statement.

After the commit, the whole bars of the batch are sent to the compacted topic `crypto.candles`.
After a crash between commit and send, Spark repeats the batch, which sends each bar it touches,
fresh or not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format
from psycopg.rows import dict_row

from common.clients.postgres import LastingConnection
from common.errors import StoreUnavailable
from schemas.contracts import size_of
from spark.streaming.partial_sums import Ranges, SymbolStream, merge_ranges


class ConcurrentApply(StoreUnavailable):
    """Another writer applied some of the ids meanwhile.

    Read the applied ids again, then compute the batch again.
    """


# The columns of the stage table that are fields of a partial sum, in order. Two more follow in the
# table: `contract_size` and `round`.
STAGE_COLUMNS = (
    *("market", "symbol", "stream", "minute_us", "events", "trades", "open_trade_id", "close_trade_id"),
    *("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"),
    "checksum",
)
_MINUTE = STAGE_COLUMNS.index("minute_us")
_columns = itemgetter(*STAGE_COLUMNS)
_bar = itemgetter("market", "symbol", "stream", "minute_us")
# A block of market.trade_ranges holds 2^14 ids (migration 004).
BLOCK_BITS = 14
_EPOCH = datetime.fromtimestamp(0, UTC)

_COPY: LiteralString = "COPY stage FROM STDIN (FORMAT TEXT)"

# Claims the ids of a batch, block by block. The blocks are locked in the order of their keys, so
# that two drivers never wait for each other. A block that already holds one of the ids is not
# changed, and not counted.
_CLAIM: LiteralString = """
INSERT INTO market.trade_ranges AS r (market, symbol, stream, block, seen)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %b::int8multirange[])
ON CONFLICT (market, symbol, stream, block) DO UPDATE
SET seen = r.seen + excluded.seen, updated_at = clock_timestamp() WHERE NOT r.seen && excluded.seen
"""

_HELD: LiteralString = """
SELECT r.market, r.symbol, r.stream, multirange_send(r.seen)
FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) AS k (market, symbol, stream, block)
JOIN market.trade_ranges r USING (market, symbol, stream, block)
ORDER BY 1, 2, 3, r.block
"""

_BARS: LiteralString = """
SELECT c.* FROM market.candles_1m c
JOIN unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) AS k (market, symbol, stream, open_time)
    USING (market, symbol, stream, open_time)
"""


@cache
def _sql(name: str) -> bytes:
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes()


class CandleStore:
    """One connection to the candle tables; it is opened again when it was lost."""

    def __init__(self, dsn: str) -> None:
        self._connection = LastingConnection(dsn, "tickhouse-candles", _register_multirange)

    def applied(self, partials: Iterable[Mapping[str, Any]]) -> dict[SymbolStream, Ranges]:
        """Return which ids of the partial sums are in the candles already, by stream.

        The ids are sorted inclusive ranges. Only the blocks that these ids touch are read, no
        matter how many ids the stream has.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        blocks = blocks_of(partials)
        held: dict[SymbolStream, Ranges] = {}
        with self._transaction() as connection:
            rows = connection.execute(_HELD, _columns_of(blocks), binary=True) if blocks else ()
            for market, symbol, stream, seen in rows:
                held.setdefault(SymbolStream(market, symbol, stream), []).extend(Multirange(seen).ranges())
        wanted: dict[SymbolStream, Ranges] = {}
        for (stream, _), ranges in blocks.items():
            wanted.setdefault(stream, []).extend(ranges)
        common = {
            stream: list(intersection(merge_ranges(wanted[stream]), merge_ranges(ranges)))
            for stream, ranges in held.items()
        }
        return {stream: ranges for stream, ranges in common.items() if ranges}

    def apply(self, partials: Sequence[dict[str, Any]]) -> None:
        """Merge fresh partial sums into the candles, all or none.

        Args:
            partials: Rows of `spark.streaming.partial_sums.PARTIAL_ARROW` whose ids are not in the
                candles.

        Raises:
            ConcurrentApply: An id is in the candles already; nothing was changed.
            StoreUnavailable: PostgreSQL does not answer. The applied ids show whether the
                transaction was committed.
        """
        if not partials:
            return
        blocks = blocks_of(partials)
        claim = [*_columns_of(blocks), [Multirange.of(ranges) for ranges in blocks.values()]]
        with self._transaction() as connection:
            if connection.execute(_CLAIM, claim).rowcount < len(blocks):
                raise ConcurrentApply("Another writer applied ids of the batch meanwhile.")
            connection.execute(_sql("create_stage"))
            last_round = 0
            with connection.cursor().copy(_COPY) as copy:
                for number, row in in_rounds(partials):
                    copy.write_row(stage_row(row, number))
                    last_round = max(last_round, number)
            for number in range(last_round + 1):
                connection.execute(_sql("merge_candles"), [number])

    def bars(self, keys: Iterable[tuple[str, str, str, Any]]) -> list[dict[str, Any]]:
        """Return the bars with these keys: market, symbol, stream, open time.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        columns = [list(column) for column in zip(*keys, strict=True)]
        if not columns:
            return []
        with self._transaction() as connection:
            return connection.cursor(row_factory=dict_row).execute(_BARS, columns).fetchall()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with self._connection.transaction() as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise StoreUnavailable(
                f"PostgreSQL did not answer: {error}".strip(),
                safe="The batch waits; its offsets are not committed.",
                next_command="tickhouse status",
            ) from error


Blocks = dict[tuple[SymbolStream, int], Ranges]


def blocks_of(partials: Iterable[Mapping[str, Any]]) -> Blocks:
    """Return the ids of partial sums by stream and block, as sorted and disjoint ranges.

    The keys are sorted.
    """
    cut: Blocks = {}
    for row in partials:
        stream = SymbolStream(row["market"], row["symbol"], row["stream"])
        for run in row["ids"]:
            lo, hi = run["lo"], run["hi"]
            while (block := lo >> BLOCK_BITS) < hi >> BLOCK_BITS:  # the run continues in the next block
                cut.setdefault((stream, block), []).append((lo, ((block + 1) << BLOCK_BITS) - 1))
                lo = (block + 1) << BLOCK_BITS
            cut.setdefault((stream, block), []).append((lo, hi))
    return {key: list(merge_ranges(cut[key])) for key in sorted(cut)}


def _columns_of(blocks: Blocks) -> list[list[Any]]:
    """Return the keys of blocks as columns: market, symbol, stream, block."""
    return [
        *([getattr(stream, name) for stream, _ in blocks] for name in SymbolStream._fields),
        [at for _, at in blocks],
    ]


class Multirange(bytes):
    """An int8multirange in PostgreSQL's binary format.

    The format is a count, then for each range its length, its flags, and both bounds with their
    lengths. Flag 2 is the canonical form, in which the lower bound is included. PostgreSQL needs
    five times as long to read the 8,192 ranges of a block as text.
    """

    _RANGE = struct.Struct(">iBiqiq")

    @classmethod
    def of(cls, ranges: Ranges) -> Multirange:
        """Encode sorted inclusive ranges that do not touch each other."""
        pack, length = cls._RANGE.pack, cls._RANGE.size - 4
        return cls(len(ranges).to_bytes(4) + b"".join([pack(length, 2, 8, lo, 8, hi + 1) for lo, hi in ranges]))

    def ranges(self) -> Ranges:
        """Decode the inclusive ranges."""
        return [(lo, hi - 1) for _, _, _, lo, _, hi in self._RANGE.iter_unpack(memoryview(self)[4:])]


class _MultirangeDumper(Dumper):
    format = Format.BINARY
    oid = types["int8multirange"].oid

    def dump(self, obj: Multirange) -> bytes:
        return obj


def _register_multirange(connection: psycopg.Connection[Any]) -> None:
    connection.adapters.register_dumper(Multirange, _MultirangeDumper)


def intersection(left: Sequence[tuple[int, int]], right: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the common ranges of two sequences of sorted, disjoint, inclusive ranges."""
    lefts, rights = iter(left), iter(right)
    a, b = next(lefts, None), next(rights, None)
    while a is not None and b is not None:
        lo, hi = max(a[0], b[0]), min(a[1], b[1])
        if lo <= hi:
            yield lo, hi
        if a[1] < b[1]:
            a = next(lefts, None)
        else:
            b = next(rights, None)


def in_rounds(partials: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield each partial sum with the number of its round.

    One statement may touch a bar only once, so a second partial sum of a bar goes to the next
    round. Partial sums of one task never share a bar, so nearly every batch has one round. To group
    them in SQL instead cost a third of the time of the merge.
    """
    rounds: dict[tuple[Any, ...], int] = {}
    for partial in partials:
        bar = _bar(partial)
        number = rounds[bar] = rounds.get(bar, -1) + 1
        yield number, partial


def stage_row(partial: Mapping[str, Any], number: int) -> list[Any]:
    """Return a partial sum in the column order of the stage table, with its time as a timestamp."""
    row = [*_columns(partial), size_of(partial["market"], partial["symbol"]), number]
    row[_MINUTE] = utc(row[_MINUTE])
    return row


def utc(time_us: int) -> datetime:
    """Return microseconds since 1970 as a time, exactly: no float is involved."""
    return _EPOCH + timedelta(microseconds=time_us)


def touched_bars(partials: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str, datetime]]:
    """Return the keys of all bars that a batch touches, fresh or not."""
    keys = {(row["market"], row["symbol"], row["stream"], row["minute_us"]) for row in partials if row["events"]}
    return [(market, symbol, stream, utc(minute_us)) for market, symbol, stream, minute_us in sorted(keys)]
