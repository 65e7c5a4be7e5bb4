"""Files of aggregate trades as data.binance.vision names and writes them, made for a test."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from tickhouse.checks.reconcile.model import CheckedTrade

_START_MS = 1_723_118_400_000  # 2024-08-08T12:00Z


def write_archive(path: Path, trades: Iterable[CheckedTrade]) -> Path:
    """Write trades to a CSV file and return its path; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        f"{trade.trade_id},{Decimal(trade.price).scaleb(-8)},{Decimal(trade.qty).scaleb(-8)},{trade.first_id},"
        f"{trade.last_id},{trade.time_us // 1000},{trade.side == 'SELL'},True\n"
        for trade in trades
    )
    path.write_text("".join(lines))
    return path


def write_numbered_archive(folder: Path, symbol: str, first: int, last: int) -> Path:
    """Write trades with the ids [first, last], three per second, and return the file.

    The file's name has a day that depends on `first`: two files of one symbol need different ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{symbol}-aggTrades-2024-08-{8 + first % 7:02d}.csv"
    assert not path.exists(), "two files of one name"
    lines = (
        f"{number},{100 + number % 7}.5,0.{number % 9 + 1},{number * 2},{number * 2 + 1},"
        f"{_START_MS + number * 333},{'true' if number % 3 else 'false'},true"
        for number in range(first, last + 1)
    )
    path.write_text("\n".join(lines) + "\n")
    return path
