"""Bronze files of a lake, as the streaming job writes them, made from the checker's trades."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.clients.lake_manifest_paths import placement, pointer_body
from common.clients.lakefs import repository
from common.settings import Settings
from tickhouse.checks.reconcile.model import MINUTE_US, CheckedStream, CheckedTrade
from tickhouse.lake.branches import ensure_branch

NOON_US = 1_723_118_400_000_000  # 2024-08-08T12:00Z
MIDNIGHT_US = NOON_US + 12 * 60 * MINUTE_US
THE_8TH, THE_9TH = date(2024, 8, 8), date(2024, 8, 9)
BTC = CheckedStream("spot", "BTCUSDT", "aggTrade")


def trade(
    number: int, time_us: int, price: int = 10**8, qty: int = 10**8, key: CheckedStream = BTC, *, singles: int = 1
) -> CheckedTrade:
    first = number * 10
    return CheckedTrade(key, number, first, first + singles - 1, price, qty, "BUY" if number % 3 else "SELL", time_us)


def market() -> list[CheckedTrade]:
    """Return trades over midnight, with silent minutes, a sentinel, ids out of order, and USD-M."""
    usdm = CheckedStream("usdm", "BTCUSDT", "trade")
    singles = CheckedStream("spot", "BTCUSDT", "trade")
    start = MIDNIGHT_US - 7 * MINUTE_US
    busy = [
        trade(n, start + n * 1_700_000, 61_000_00000000 + (n * 7919) % 4001, 1 + n * 31, singles=1 + n % 3)
        for n in range(400)
        if not 100 <= n < 190
    ]
    late = trade(1_000, start + 30 * 1_700_000, 62_000_00000001, 5)
    void = trade(1_001, start + 40 * 1_700_000, 0, 0)
    rare = [trade(n, start + n * 180_000_000, 3 + n, 7, usdm) for n in range(6)]
    other_stream = [trade(n, start + n * 1_000_000, 60_000_00000000, 9, singles) for n in range(20)]
    return [*busy, late, void, *rare, *other_stream]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BRONZE = pa.schema(
    [
        *((name, pa.string()) for name in ("event_id", "exchange", "market", "stream", "symbol")),
        *((name, pa.int64()) for name in ("trade_id", "first_trade_id", "last_trade_id")),
        *((name, pa.decimal128(28, 8)) for name in ("price", "qty")),
        ("side", pa.string()),
        *((name, pa.timestamp("us", "UTC")) for name in ("event_time", "trade_time", "ingest_time")),
        *((name, pa.string()) for name in ("source", "raw")),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
    ]
)


def moment(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)


def bronze_row(trade: CheckedTrade, offset: int, source: str = "SIMULATED") -> dict[str, Any]:
    time = moment(trade.time_us)
    key = trade.key
    return {
        "event_id": trade.event_id, "exchange": "BINANCE", "market": key.market, "stream": key.stream,
        "symbol": key.symbol, "trade_id": trade.trade_id, "first_trade_id": trade.first_id,
        "last_trade_id": trade.last_id, "price": Decimal(trade.price).scaleb(-8), "qty": Decimal(trade.qty).scaleb(-8),
        "side": trade.side, "event_time": time, "trade_time": time, "ingest_time": time, "source": source, "raw": "{}",
        "kafka_partition": 0, "kafka_offset": offset,
    }  # fmt: skip


def bronze_files(rows: Sequence[dict[str, Any]], batch_id: int = 0) -> dict[str, bytes]:
    """Return the files of one batch as bytes by path; the manifest is the last."""
    hours: dict[datetime, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        hours[row["trade_time"].replace(minute=0, second=0, microsecond=0)].append(row)
    first, until = rows[0]["kafka_offset"], rows[-1]["kafka_offset"] + 1
    files, entries = {}, []
    for hour, part in sorted(hours.items()):
        path = f"bronze/trades/date={hour:%Y-%m-%d}/hour={hour:%H}/crypto.trades-0-{first}-{until}.parquet"
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(part, BRONZE), sink)
        files[path] = sink.getvalue().to_pybytes()
        entries.append({"path": path, "rows": len(part), "bytes": len(files[path])})
    manifest = {
        "v": 1, "topic": "crypto.trades", "batch_id": batch_id, "ranges": {"0": [first, until]}, "rows": len(rows),
        "files": entries,
    }  # fmt: skip
    places = placement("trades", f"{batch_id:012d}-abc.json", list(files))
    pointers = {path: pointer_body(places.manifest) for path in places.pointers}
    return files | pointers | {places.manifest: json.dumps(manifest).encode()}


def rows_of(trades: Iterable[CheckedTrade], first_offset: int = 0) -> list[dict[str, Any]]:
    return [bronze_row(trade, first_offset + number) for number, trade in enumerate(trades)]


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, body in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)


def contents(folder: Path, below: str = "") -> dict[str, bytes]:
    """Return the bytes of every file below a folder, by path."""
    root = folder / below
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def empty_branch(settings: Settings, name: str) -> None:
    """Create a branch without tables, even where another test has published days to `main`."""
    *_, first = repository(settings).ref("main").log()
    ensure_branch(settings, name, first.id)
