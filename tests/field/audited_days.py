"""A lake with the trades that a test chooses, and the laws of a day that they break."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from common.clients.lake_files import RefFiles
from common.days import Days, midnight
from tests.lakes import bronze_files, bronze_row, moment, rows_of, write
from tickhouse.checks.audit.great_expectations_run import run_checkpoint
from tickhouse.checks.audit.lake_views import DayInputs
from tickhouse.checks.audit.outcomes import LawOutcome
from tickhouse.checks.audit.run import lake_laws
from tickhouse.checks.reconcile import gold
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade

DAY = date(2024, 8, 8)
DAYS = Days(DAY, DAY)
LONG_AFTER = datetime(2030, 1, 1, tzinfo=UTC)
BTC = CheckedStream("spot", "BTCUSDT", "aggTrade")
OTHER = CheckedStream("spot", "XRPETH", "aggTrade")
EXACT = Context(prec=100)
# Columns that no law of a day reads.
NOT_STORED = ("key", "open_time_us", "vwap", "taker_buy_volume", "taker_buy_quote_volume")
DAY_SUITES = {"day_shape", "exchange_days", "manifests"}


def microseconds(day: date, seconds: float = 0) -> int:
    """Return the time of a second of a UTC day, in microseconds since 1970."""
    return int(midnight(day).timestamp()) * 10**6 + int(seconds * 10**6)


def trade(
    number: int, time_us: int, key: CheckedStream = BTC, *, side: str = "", is_void: bool = False
) -> CheckedTrade:
    price, qty = (0, 0) if is_void else (61_000 * 10**8 + number, 10**8)
    return CheckedTrade(key, number, number, number, price, qty, side or ("BUY" if number % 2 else "SELL"), time_us)


def whole_day(
    day: date = DAY, first: int = 0, *, every_s: float = 60.0, key: CheckedStream = BTC
) -> list[CheckedTrade]:
    """Return trades at even distances over a UTC day, with ids from `first` on."""
    count = int(86_400 / every_s)
    return [trade(first + n, microseconds(day, (n + 0.5) * every_s), key) for n in range(count)]


def silver_files(trades: Iterable[CheckedTrade]) -> dict[str, bytes]:
    """Return the files of silver, without the columns that no law of a day reads."""
    hours: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in trades:
        at = moment(one.time_us)
        row = bronze_row(one, 0) | {"is_sentinel": one.is_sentinel, "minute": moment(one.minute_us)}
        hours[f"silver/trades/date={at:%Y-%m-%d}/hour={at:%H}/part-0.parquet"].append(row)
    return {path: _parquet(rows) for path, rows in hours.items()}


def candle_files(trades: Sequence[CheckedTrade]) -> dict[str, bytes]:
    """Return the files of gold candles, as the checker computes them."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for interval in gold.INTERVALS_US:
        for candle in gold.expected(trades, interval).values():
            at = moment(candle.open_time_us)
            rows[f"gold/candles_{interval}/date={at:%Y-%m-%d}/part-0.parquet"].append(_candle_row(candle, at))
    return {path: _parquet(table) for path, table in rows.items()}


def _candle_row(candle: gold.GoldCandle, at: datetime) -> dict[str, Any]:
    row = candle._asdict() | candle.key._asdict() | {"open_time": at}
    for name, places in (("volume", 8), ("quote_volume", 16), ("open", 8), ("high", 8), ("low", 8), ("close", 8)):
        row[name] = Decimal(row[name]).scaleb(-places, EXACT)
    return {name: value for name, value in row.items() if name not in NOT_STORED}


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue().to_pybytes())


def lake_of(folder: Path, trades: Sequence[CheckedTrade]) -> RefFiles:
    """Write bronze, silver and gold of some trades to a folder."""
    write(folder, bronze_files(rows_of(trades)))
    write(folder, silver_files(trades))
    write(folder, candle_files(trades))
    return RefFiles(LocalFileSystem(), str(folder))


def law_tables(lake: RefFiles, days: Days = DAYS, inputs: DayInputs | None = None) -> dict[str, Any]:
    """Return the tables that the suites about a day run_checkpoint, by suite."""
    tables = lake_laws(lake, days, lake.bronze("trades"), [], inputs or DayInputs(now=LONG_AFTER))
    return {name: table for name, table in tables.items() if name in DAY_SUITES}


def day_shapes(lake: RefFiles, days: Days = DAYS, now: datetime = LONG_AFTER) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of suite `day_shape`, by symbol and date."""
    table = law_tables(lake, days, DayInputs(now=now))["day_shape"]
    return {(row["symbol"], row["date"]): row for row in table.to_dict("records")}


def broken_laws(lake: RefFiles, folder: Path, days: Days = DAYS, inputs: DayInputs | None = None) -> list[LawOutcome]:
    """Return the laws of a day that the lake breaks; the report goes below `folder`."""
    outcomes = run_checkpoint(law_tables(lake, days, inputs), "day", folder / "site")
    return [one for one in outcomes if one.is_broken]


def warnings_of(broken: Iterable[LawOutcome]) -> set[str]:
    """Return the first words of the laws that only warn."""
    return {law.law.split(":")[0].split(",")[0] for law in broken if law.severity == "warning"}
