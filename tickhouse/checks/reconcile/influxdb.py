"""Read the points of InfluxDB by InfluxQL, which the writer does not use.

The server sends chunks of rows with all fields of a point, so memory does not grow with the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from common.clients.influxdb import MEASUREMENT, TRADES, token_of
from common.errors import StoreUnavailable
from common.settings import Settings
from tickhouse.checks.reconcile.contract_turnover import quote_quantity
from tickhouse.checks.reconcile.documents import Unreadable, stored_twice, unscaled
from tickhouse.checks.reconcile.model import SCALE, CheckedStream, CheckedTrade
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.stores import CheckContext
from tickhouse.checks.reconcile.trade_comparison import Row, compare

_CHUNK = 20_000
_TIMEOUT_S = 120.0
_QUOTE_SCALE = 10**16


@dataclass(frozen=True)
class InfluxStore:
    """The points of InfluxDB: each trade must be one point."""

    settings: Settings
    name: str = "influxdb"

    def check(self, context: CheckContext) -> StoreResult:
        """Compare every field and tag of every point."""
        result = StoreResult(self.name, limit=context.limit)
        bad: list[Unreadable] = []
        compare(
            rows(points(self.settings), bad),
            context.base.expected,
            result,
            repeat=stored_twice,
            horizon=context.base.horizon,
            expired=context.expired(self.name),
        )
        for point in bad:
            result.count += 1
            result.add_fault("mismatch", point.identity, point.detail)
        return result


def points(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield every point as its columns: the tags, the fields, and the time in nanoseconds.

    Raises:
        StoreUnavailable: The server does not answer, or its answer is not complete.
    """
    query = {"db": TRADES, "q": f'SELECT * FROM "{MEASUREMENT}"', "epoch": "ns"}  # noqa: S608 - constants
    more = {"chunked": "true", "chunk_size": str(_CHUNK)}
    headers = {"Authorization": f"Token {token_of(settings, 'reader')}"}
    is_complete = False
    try:
        with (
            httpx.Client(timeout=_TIMEOUT_S, trust_env=False, headers=headers) as client,
            client.stream("GET", f"{settings.influxdb_url}/query", params=query | more) as answer,
        ):
            answer.raise_for_status()
            for line in filter(None, answer.iter_lines()):
                rows_of_chunk, is_complete = read_chunk(line)
                yield from rows_of_chunk
    except (httpx.HTTPError, ValueError) as error:
        raise _unavailable(str(error)) from error
    if not is_complete:
        raise _unavailable("its answer ended early")


def read_chunk(line: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the points of a line of the answer, and whether it is the last one (pure).

    Raises:
        ValueError: The line holds an error, or is no JSON.
    """
    document = json.loads(line)
    (result,) = document.get("results") or [{}]
    problem = document.get("error") or result.get("error")
    if problem:
        raise ValueError(problem)
    series = result.get("series", [])
    found = [dict(zip(one["columns"], values, strict=True)) for one in series for values in one["values"]]
    return found, not (result.get("partial") or any(one.get("partial") for one in series))


def rows(found: Iterator[Mapping[str, Any]], bad: list[Unreadable]) -> Iterator[Row]:
    """Yield a row for each point; those that are not trades are added to `bad`."""
    for number, point in enumerate(found):
        try:
            trade = trade_of(point)
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            bad.append(Unreadable(str(dict(point))[:200], f"{error!r}"))
            continue
        yield Row(trade, (f"{TRADES} {point['time']}", 0, number), fault_of(point, trade))


def trade_of(point: Mapping[str, Any]) -> CheckedTrade:
    """Return the trade of a point.

    Raises:
        ValueError: A value is no integer, or more exact than the model.
        KeyError: A column is missing.
    """
    names = ("trade_id", "first_trade_id", "last_trade_id", "time")
    trade_id, first_id, last_id, time_ns = (_integer(name, point[name]) for name in names)
    key = CheckedStream(point["market"], point["symbol"], point["stream"])
    price, qty = _exact(point, "price"), _exact(point, "qty")
    return CheckedTrade(key, trade_id, first_id, last_id, price, qty, point["side"], time_ns // 1000)


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{name}: expected an integer, was {value!r}.")
    return value


def _exact(point: Mapping[str, Any], name: str) -> int:
    if point.get(f"{name}_e8") is not None:
        return _integer(name, point[f"{name}_e8"])
    return unscaled(Decimal(point[f"{name}_text"]), 8)


def fault_of(point: Mapping[str, Any], trade: CheckedTrade) -> str:
    """Return what is wrong with the parts of a point that are derived from its trade, or ""."""
    if point["exchange"] != "BINANCE":
        return f"exchange: {point['exchange']}"
    if point["time"] % 1000 != trade.trade_id % 1000:
        return f"nanoseconds: expected the id's last three digits, was {point['time'] % 1000}"
    wanted: dict[str, float | None] = dict.fromkeys(("price", "qty", "quote_qty"))
    if not trade.is_sentinel:
        quote = quote_quantity(trade) / _QUOTE_SCALE
        wanted = {"price": trade.price / SCALE, "qty": trade.qty / SCALE, "quote_qty": quote}
    wrong = [name for name, value in wanted.items() if _float(point.get(name)) != value]
    return f"{', '.join(wrong)}: not derived from the exact values" if wrong else ""


def _float(value: Any) -> float | None:
    # The server writes a float without decimals as an integer.
    return None if value is None else float(value)


def _unavailable(why: str) -> StoreUnavailable:
    return StoreUnavailable(f"InfluxDB cannot be read: {why}.", next_command="tickhouse logs influxdb")
