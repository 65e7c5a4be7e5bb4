"""`python -m bench.read_lake`: seconds from the call to the first row, by the way of reading.

A branch of a lakeFS stand-in gets days of gold with the 1-minute candles of 50 symbols. Each way
then reads the open time and the close of one symbol through the S3 gateway, for one day and for all
of them. What is printed is the median of the rounds.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from bench.bench_stack import BenchStack, temporary_stack
from common.clients.lake_files import RefFiles
from common.clients.lake_gateway import lake_filesystem
from common.clients.lakefs import repository
from common.days import ONE_DAY, midnight
from common.settings import Settings
from spark.batch.files import batch_parquet
from tickhouse import read
from tickhouse.lake.branches import commit

FIRST, DAYS, SYMBOLS, ROUNDS = date(2024, 8, 1), 10, 50, 5
SYMBOL, COLUMNS = "S020USDT", ["open_time", "close"]
Way = Callable[[Settings, str, date, date], pa.Table]


def with_tickhouse(settings: Settings, commit_id: str, start: date, end: date) -> pa.Table:
    """Read as an analyst does."""
    return read.candles(SYMBOL, market="spot", start=start, end=end, as_of=commit_id, columns=COLUMNS).arrow()


def with_pyarrow(settings: Settings, commit_id: str, start: date, end: date) -> pa.Table:
    """Read with a dataset of pyarrow and sort with its kernel."""
    files = ds.dataset(_files(settings, commit_id, start, end), filesystem=lake_filesystem(settings), format="parquet")
    wanted = (pc.field("market") == "spot") & (pc.field("symbol") == SYMBOL)
    return files.to_table(COLUMNS, filter=wanted).sort_by("open_time")


def with_pandas(settings: Settings, commit_id: str, start: date, end: date) -> pa.Table:
    """Read whole files with pandas, then filter."""
    lake = lake_filesystem(settings)
    each = (pd.read_parquet(path, filesystem=lake) for path in _files(settings, commit_id, start, end))
    rows = pd.concat(frame[(frame["market"] == "spot") & (frame["symbol"] == SYMBOL)][COLUMNS] for frame in each)
    return pa.Table.from_pandas(rows.sort_values("open_time"), preserve_index=False)


WAYS: dict[str, Way] = {"tickhouse.read": with_tickhouse, "pyarrow dataset": with_pyarrow, "pandas": with_pandas}


def _files(settings: Settings, commit_id: str, start: date, end: date) -> list[str]:
    lake, days = RefFiles.connect(settings, commit_id), (end - start).days
    folders = (f"gold/candles_1m/date={start + number * ONE_DAY}" for number in range(days))
    return [f"{settings.lake_repository}/{commit_id}/{path}" for one in folders for path in lake.parquet_files(one)]


def main() -> None:
    """Print one line of JSON per way."""
    with temporary_stack(is_quick="--quick" in sys.argv) as bench:
        settings, days = bench.up("lakefs"), bench.sized(DAYS, 2)
        commit_id = fill(bench, settings, days)
        for name, way in WAYS.items():
            figures = {
                f"seconds_{count}_days": _median_s(bench, way, settings, commit_id, count) for count in (1, days)
            }
            sys.stdout.write(json.dumps({"way": name, **figures}) + "\n")


def _median_s(bench: BenchStack, way: Way, settings: Settings, commit_id: str, days: int) -> float:
    taken = []
    for _ in range(bench.sized(ROUNDS, 1)):
        began = time.perf_counter()
        rows = way(settings, commit_id, FIRST, FIRST + days * ONE_DAY)
        taken.append(time.perf_counter() - began)
        assert len(rows) == days * 1440
    return round(statistics.median(taken), 3)


def fill(bench: BenchStack, settings: Settings, days: int) -> str:
    """Commit gold of `days` days to a branch; return the commit."""
    branch = repository(settings).branch("bench").create("main")
    for number in range(days):
        body = day_of_candles(FIRST + number * ONE_DAY)
        branch.object(f"gold/candles_1m/date={FIRST + number * ONE_DAY}/part-0.parquet").upload(body, mode="wb")
    return str(commit(settings, "bench", "gold", {}))


def day_of_candles(day: date) -> bytes:
    """Return a day of candles of all symbols as the batch writes them, by symbol and time."""
    times = [midnight(day) + timedelta(minutes=minute) for minute in range(1440)]
    prices = [Decimal(60_000_00000000 + (n * 7919) % 10**10).scaleb(-8) for n in range(SYMBOLS * 1440)]
    price = pa.array(prices, pa.decimal128(28, 8))
    amount = {name: price.cast(pa.decimal128(38, 8)) for name in ("volume", "taker_buy_volume")}
    quote = {name: price.cast(pa.decimal128(38, 16)) for name in ("quote_volume", "vwap", "taker_buy_quote_volume")}
    counts = {
        name: pa.array(range(SYMBOLS * 1440), pa.int64()) for name in ("trades", "open_trade_id", "close_trade_id")
    }
    table = pa.table({
        "market": ["spot"] * SYMBOLS * 1440,
        "symbol": [f"S{number:03d}USDT" for number in range(SYMBOLS) for _ in range(1440)],
        "open_time": pa.array(times * SYMBOLS, pa.timestamp("us", "UTC")),
        **dict.fromkeys(("open", "high", "low", "close"), price), **amount, **quote, **counts,
    })  # fmt: skip
    body = batch_parquet(table)
    assert pq.read_metadata(io.BytesIO(body)).num_rows == SYMBOLS * 1440
    return body


if __name__ == "__main__":
    main()
