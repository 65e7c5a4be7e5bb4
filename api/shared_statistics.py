"""Rolling statistics as the stream keeps them in Geode, in the form of the API."""

from __future__ import annotations

from typing import Any, Final

from common.clients import geode
from common.clients.statistics import all_statistics
from common.settings import Settings

_TEXTS: Final = ("open", "high", "low", "close", "change_percent", "volume", "quote_volume")


def shared_statistics(settings: Settings, market: str, symbol: str | None) -> list[dict[str, Any]]:
    """Return the statistics of each symbol; of its streams, that with more trades counts.

    Raises:
        StoreUnavailable: Geode does not answer.
    """
    with geode.connected(settings, "reader") as client:
        found = all_statistics(client, market, symbol or "")
    by_symbol: dict[str, dict[str, Any]] = {}
    for one in found:
        other = by_symbol.get(one["symbol"])
        if other is None or int(one["trades"]) > int(other["trades"]):
            by_symbol[one["symbol"]] = one
    return [_document(by_symbol[name]) for name in sorted(by_symbol)]


def _document(value: dict[str, Any]) -> dict[str, Any]:
    return {
        "market": value["market"],
        "symbol": value["symbol"],
        "from": value["from"],
        "to": value["until"],
        **{name: value[name] for name in _TEXTS},
        "vwap": value["vwap"] if int(value["trades"]) else None,
        "trades": int(value["trades"]),
        "source": "geode",
    }
