"""Rows of the hours in which a symbol traded, from `gold/candles_1h` (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any

AMOUNTS = ("close", "volume", "quote_volume")


def hour_rows(date: str, candles: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each hour in which a symbol traded, sorted by id.

    Amounts become decimal text with all their digits: Neo4j has no decimals (ADR 0027). A silent
    hour has no row.

    Args:
        date: The day, YYYY-MM-DD.
        candles: Rows of one file of `gold/candles_1h`.
    """
    rows = [_row(date, candle) for candle in candles if candle["agg_trades"]]
    return sorted(rows, key=lambda row: str(row["hour_id"]))


def _row(date: str, candle: Mapping[str, Any]) -> dict[str, Any]:
    hour = candle["open_time"].astimezone(UTC).strftime("%Y-%m-%dT%H")
    symbol_id = f"{candle['market']}:{candle['symbol']}"
    amounts = {name: exact_text(candle[name]) for name in AMOUNTS}
    names = {"hour_id": f"{symbol_id}:{hour}", "symbol_id": symbol_id, "hour": hour, "date": date}
    names |= {"market": candle["market"], "symbol": candle["symbol"]}
    return names | amounts | {"trades": int(candle["trades"])}


def exact_text(value: Decimal) -> str:
    """Return a decimal without an exponent and without trailing zeros; `Decimal(text) == value`."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
