"""Candles into PostgreSQL, exactly once by event id.

Delivery guarantee. Spark may hand over a batch more than once, cut differently, or much later; `market.trade_ranges`
says which ids a candle already holds. In one transaction:

1. the stream's rows of `trade_ranges` are locked;
2. partials whose ids are already in are refused (another driver was faster: the batch is computed again);
3. partials are copied to a stage table and merged into `candles_1m`, each bar once a statement;
4. their ids are added to `trade_ranges`.

Then the bars of the batch are sent, whole, to `crypto.candles` (compacted). A crash between commit and send is
healed by the replay of the batch: it sends every bar it touches, fresh or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from spark.sums import Ranges, StreamKey
from tickhouse.errors import StoreUnavailable


class ConcurrentApply(StoreUnavailable):
    """Some ids of the partials were applied since `seen` was read; read it again."""


# Columns of the stage table, in its order; the last one, `round`, is ours.
STAGE_COLUMNS = (
    *("market", "symbol", "stream", "minute_us", "ids", "events", "trades", "open_trade_id", "close_trade_id"),
    *("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"),
    "checksum",
)
_MINUTE, _IDS = STAGE_COLUMNS.index("minute_us"), STAGE_COLUMNS.index("ids")
_columns = itemgetter(*STAGE_COLUMNS)
_bar = itemgetter("market", "symbol", "stream", "minute_us")
_EPOCH = datetime.fromtimestamp(0, UTC)

_COPY: LiteralString = "COPY stage FROM STDIN (FORMAT TEXT)"

_CLAIM: LiteralString = """
INSERT INTO market.trade_ranges (market, symbol, stream) SELECT DISTINCT market, symbol, stream FROM stage
ON CONFLICT DO NOTHING
"""

_LOCK: LiteralString = """
SELECT 1 FROM market.trade_ranges r WHERE EXISTS
    (SELECT FROM stage s WHERE (s.market, s.symbol, s.stream) = (r.market, r.symbol, r.stream))
ORDER BY r.market, r.symbol, r.stream FOR UPDATE
"""

# Ids that were not seen when the partials were made: if one is by now, somebody else applied it.
_OVERLAP: LiteralString = """
SELECT s.market, s.symbol, s.stream, s.ids * r.seen FROM stage s
JOIN market.trade_ranges r USING (market, symbol, stream) WHERE r.seen && s.ids LIMIT 1
"""

_MARK_SEEN: LiteralString = """
UPDATE market.trade_ranges r SET seen = r.seen + s.ids, updated_at = clock_timestamp()
FROM (SELECT market, symbol, stream, range_agg(ids) AS ids FROM stage GROUP BY 1, 2, 3) s
WHERE (s.market, s.symbol, s.stream) = (r.market, r.symbol, r.stream)
"""

_SEEN: LiteralString = """
SELECT market, symbol, stream, lower(r), upper(r) - 1 FROM market.trade_ranges, unnest(seen) AS r
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
    """One connection to the candle tables, opened again after a loss."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection[Any] | None = None

    def seen(self) -> dict[StreamKey, Ranges]:
        """Return the ids already applied, as inclusive ranges by stream.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        found: dict[StreamKey, Ranges] = {}
        with self._transaction() as connection:
            for market, symbol, stream, lo, hi in connection.execute(_SEEN):
                found.setdefault(StreamKey(market, symbol, stream), []).append((lo, hi))
        return found

    def apply(self, partials: Sequence[dict[str, Any]]) -> None:
        """Merge fresh partials (rows of `spark.sums.PARTIAL_ARROW`) into the candles; all or nothing.

        Raises:
            ConcurrentApply: An id is already in; nothing was changed.
            StoreUnavailable: PostgreSQL does not answer; `seen`, read again, tells whether it stands.
        """
        if not partials:
            return
        with self._transaction() as connection:
            connection.execute(_sql("create_stage"))
            last_round = 0
            with connection.cursor().copy(_COPY) as copy:
                for number, row in in_rounds(partials):
                    copy.write_row(stage_row(row, number))
                    last_round = max(last_round, number)
            connection.execute(_CLAIM)
            connection.execute(_LOCK)
            _refuse_overlap(connection.execute(_OVERLAP).fetchone())
            for number in range(last_round + 1):
                connection.execute(_sql("merge_candles"), [number])
            connection.execute(_MARK_SEEN)

    def bars(self, keys: Iterable[tuple[str, str, str, Any]]) -> list[dict[str, Any]]:
        """Return the whole bars of (market, symbol, stream, open time).

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
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self._dsn, connect_timeout=5, application_name="tickhouse-candles")
            with self._connection.transaction():
                yield self._connection
        except psycopg.OperationalError as error:
            self.close()
            raise StoreUnavailable(
                f"PostgreSQL did not answer: {error}".strip(),
                safe="The batch waits; its offsets are not committed.",
                next_command="tickhouse status",
            ) from error


def _refuse_overlap(row: tuple[Any, ...] | None) -> None:
    if row is not None:
        raise ConcurrentApply(f"Ids {row[3]} of {row[0]} {row[1]} {row[2]} were applied meanwhile.")


def in_rounds(partials: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield each partial with a round: one statement may touch a bar only once.

    Partials of one task never share a bar, so nearly every batch is one round; to group them in SQL cost a third of
    the merge.
    """
    rounds: dict[tuple[Any, ...], int] = {}
    for partial in partials:
        bar = _bar(partial)
        number = rounds[bar] = rounds.get(bar, -1) + 1
        yield number, partial


def stage_row(partial: Mapping[str, Any], number: int) -> list[Any]:
    """Return a partial in the column order of the stage table: time as a timestamp, ids as a multirange."""
    row = [*_columns(partial), number]
    row[_MINUTE] = utc(row[_MINUTE])
    row[_IDS] = "{" + ",".join([f"[{run['lo']},{run['hi']}]" for run in row[_IDS]]) + "}"
    return row


def utc(time_us: int) -> datetime:
    """Return microseconds since the epoch as a time (exact: no float)."""
    return _EPOCH + timedelta(microseconds=time_us)


def touched(partials: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str, datetime]]:
    """Return every bar a batch touches, fresh or not: (market, symbol, stream, open time)."""
    keys = {(row["market"], row["symbol"], row["stream"], row["minute_us"]) for row in partials if row["events"]}
    return [(market, symbol, stream, utc(minute_us)) for market, symbol, stream, minute_us in sorted(keys)]
