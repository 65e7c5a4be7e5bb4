"""Read candles and trades of a lake commit as Arrow, pandas or polars, or query them with DuckDB.

    from tickhouse import read

    bars = read.candles("BTCUSDT", market="spot", start="2024-08-08", end="2024-08-10")
    bars.commit_id       # cite this; as_of=bars.commit_id reads the same rows again
    bars.pandas()

A reference is resolved to its commit first, so all rows are of one commit, and uncommitted files
are not read. Only the files of the wanted days are opened, and of them only the wanted columns are
read. Prices and quantities are exact decimals, times are UTC with microseconds, and rows are sorted
by time, then by id.

Every function may raise:

- `ConfigurationError`: an argument is wrong (unknown reference, market, symbol, interval, table or
  column, an empty time range), or the commit does not have all wanted days. The message names what
  there is.
- `StoreUnavailable`: the lake does not answer, or a file cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from producer.events import check_market
from tickhouse.read.lake_at_commit import open_lake
from tickhouse.read.lake_rows import LakeRows
from tickhouse.read.lake_tables import Moment, candle_table, named_table, time_span
from tickhouse.read.table_scan import SymbolFilter, Wanted, days_of, query_rows, read_rows

__all__ = ["LakeRows", "candles", "days", "query", "table", "trades"]


def candles(
    symbol: str,
    *,
    market: str,
    interval: str = "1m",
    start: Moment,
    end: Moment,
    as_of: str = "main",
    columns: Sequence[str] = (),
    skip_missing_days: bool = False,
    home: str | Path | None = None,
) -> LakeRows:
    """Return the candles of a symbol with an open time in [start, end).

    A silent interval is a candle with volume 0 whose four prices are the close before it. Columns:
    docs/reference/tables.md.

    Args:
        symbol: The exchange's own symbol, in any case.
        market: spot, usdm or coinm.
        interval: 1m, 5m, 1h or 1d.
        start: First open time: a date, a time, or ISO 8601 text; UTC unless it has a zone.
        end: Last open time, exclusive.
        as_of: Branch, tag or commit.
        columns: Columns to read; all when empty.
        skip_missing_days: Read the days that the commit has and list the others in `missing_days`,
            instead of raising an error.
        home: Folder of the lakehouse, such as `.tickhouse-demo`; that of the environment when None.

    Raises:
        ConfigurationError: See above.
        StoreUnavailable: See above.
    """
    wanted = Wanted(
        table=candle_table(interval),
        span=time_span(start, end),
        of=SymbolFilter(check_market(market), symbol),
        columns=tuple(columns),
        skip_missing_days=skip_missing_days,
    )
    return read_rows(open_lake(as_of, home), wanted)


def trades(
    symbol: str,
    *,
    market: str,
    start: Moment,
    end: Moment,
    as_of: str = "main",
    columns: Sequence[str] = (),
    skip_missing_days: bool = False,
    include_sentinels: bool = False,
    home: str | Path | None = None,
) -> LakeRows:
    """Return the trades of a symbol with a trade time in [start, end), each event once.

    A symbol that was taken both as aggregate and as single trades has both; `stream` tells them
    apart.

    Args:
        symbol: The exchange's own symbol, in any case.
        market: spot, usdm or coinm.
        start: First trade time: a date, a time, or ISO 8601 text; UTC unless it has a zone.
        end: Last trade time, exclusive.
        as_of: Branch, tag or commit.
        columns: Columns to read; all when empty.
        skip_missing_days: Read the days that the commit has and list the others in `missing_days`,
            instead of raising an error.
        include_sentinels: Return records with a price or quantity of zero too. With them Binance
            marks an id as void; they are in no candle.
        home: Folder of the lakehouse, such as `.tickhouse-demo`; that of the environment when None.

    Raises:
        ConfigurationError: See above.
        StoreUnavailable: See above.
    """
    wanted = Wanted(
        table=named_table("trades"),
        span=time_span(start, end),
        of=SymbolFilter(check_market(market), symbol),
        columns=tuple(columns),
        skip_missing_days=skip_missing_days,
        include_sentinels=include_sentinels,
    )
    return read_rows(open_lake(as_of, home), wanted)


def table(
    name: str,
    *,
    start: Moment,
    end: Moment,
    as_of: str = "main",
    columns: Sequence[str] = (),
    skip_missing_days: bool = False,
    home: str | Path | None = None,
) -> LakeRows:
    """Return the rows of a table of silver or gold in [start, end), of all markets and symbols.

    Args:
        name: A table of `tickhouse.read.lake_tables.TABLES`, such as `volatility`.
        start: First time: a date, a time, or ISO 8601 text; UTC unless it has a zone.
        end: Last time, exclusive.
        as_of: Branch, tag or commit.
        columns: Columns to read; all when empty.
        skip_missing_days: Read the days that the commit has and list the others in `missing_days`,
            instead of raising an error.
        home: Folder of the lakehouse, such as `.tickhouse-demo`; that of the environment when None.

    Raises:
        ConfigurationError: See above.
        StoreUnavailable: See above.
    """
    wanted = Wanted(
        table=named_table(name),
        span=time_span(start, end),
        columns=tuple(columns),
        skip_missing_days=skip_missing_days,
        include_sentinels=True,
    )
    return read_rows(open_lake(as_of, home), wanted)


def query(
    sql: str,
    *,
    table: str,
    start: Moment,
    end: Moment,
    as_of: str = "main",
    skip_missing_days: bool = False,
    home: str | Path | None = None,
) -> LakeRows:
    """Return the result of a DuckDB query over the rows of a table in [start, end), named `rows`.

    The rows go through the query batch by batch, so more of them fit than into memory. Of `trades`,
    a query also gets the records that Binance marks as void (`is_sentinel`).

        read.query(
            "SELECT symbol, sum(qty) AS volume FROM rows WHERE NOT is_sentinel GROUP BY symbol",
            table="trades", start="2024-08-01", end="2024-09-01",
        )

    Args:
        sql: A query of DuckDB; it can reach `rows` and no file or network.
        table: A table of `tickhouse.read.lake_tables.TABLES`, such as `trades`.
        start: First time: a date, a time, or ISO 8601 text; UTC unless it has a zone.
        end: Last time, exclusive.
        as_of: Branch, tag or commit.
        skip_missing_days: Read the days that the commit has and list the others in `missing_days`,
            instead of raising an error.
        home: Folder of the lakehouse, such as `.tickhouse-demo`; that of the environment when None.

    Raises:
        ConfigurationError: See above; also when DuckDB refuses the query.
        StoreUnavailable: See above.
    """
    wanted = Wanted(
        table=named_table(table),
        span=time_span(start, end),
        skip_missing_days=skip_missing_days,
        include_sentinels=True,
    )
    return query_rows(open_lake(as_of, home), wanted, sql)


def days(name: str = "candles_1m", *, as_of: str = "main", home: str | Path | None = None) -> list[date]:
    """Return the UTC days that a table has at a reference, sorted; of `monthly`, the first of each.

    Raises:
        ConfigurationError: See above.
        StoreUnavailable: See above.
    """
    return days_of(open_lake(as_of, home), named_table(name))
