"""REST answers as functions of a tape, a moment and a query: no I/O, no clock.

Only trades with a time <= `now_us` are in any answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from stack.exchange.bars import INTERVALS_US, Bar, bars, day_fields, day_of, quote_after, quote_text
from stack.exchange.columns import Columns, SymbolSpec, fixed
from stack.exchange.frames import compact
from stack.exchange.query import Query, RestError
from stack.exchange.tape import Tape

# What RAW_REQUESTS and the rest of rateLimits say is Binance's of 2026; only REQUEST_WEIGHT is enforced here.
RAW_REQUESTS = 300_000


class Ask(NamedTuple):
    """One request: what is played, until when, its parameters, and whether times go out in microseconds."""

    tape: Tape
    now_us: int
    query: Query
    is_micro: bool
    weight_limit: int

    def time(self, time_us: int) -> int:
        """Return a time in the unit that was asked for."""
        return time_us if self.is_micro else time_us // 1_000

    @property
    def is_spot(self) -> bool:
        """Return whether the tape plays the spot market."""
        return self.tape.market == "spot"


def _window(ask: Ask, table: Columns, limit: int) -> tuple[int, int]:
    """Return the rows of a request by id or time: oldest first, never past `now_us` (Binance's order of rules)."""
    played = table.until(ask.now_us)
    from_id, start, end = ask.query.number("fromId"), ask.query.time_us("startTime"), ask.query.time_us("endTime")
    if from_id is not None:
        if start is not None or end is not None:
            raise RestError(-1128, "Combination of optional parameters invalid.")
        low = min(table.row_of(min(from_id, 2**63 - 1)), played)
        return low, min(low + limit, played)
    high = played if end is None else min(played, table.until(min(end, 2**62)))
    if start is not None:
        low = min(table.at_or_after(min(start, 2**62)), high)
        return low, min(low + limit, high)
    return max(0, high - limit), high


def agg_trades(ask: Ask) -> str:
    """Answer /aggTrades."""
    table = _table(ask, ask.tape.agg_trades)
    low, high = _window(ask, table, ask.query.limit())
    tail = ',"M":true}' if ask.is_spot else "}"
    unit = 1 if ask.is_micro else 1_000
    columns = (table.ids, table.first, table.last, table.t_us, table.maker)
    rows = zip(range(low, high), *(c[low:high].tolist() for c in columns), strict=True)
    found = []
    for row, a, first, last, time_us, maker in rows:
        price, qty = table.texts(row)
        found.append(
            f'{{"a":{a},"p":"{price}","q":"{qty}","f":{first},"l":{last},"T":{time_us // unit},'
            f'"m":{"true" if maker else "false"}{tail}'
        )
    return f"[{','.join(found)}]"


def recent_trades(ask: Ask) -> str:
    """Answer /trades (the latest) and /historicalTrades (from an id)."""
    table = _table(ask, ask.tape.single_trades)
    low, high = _window(ask, table, ask.query.limit())
    return compact([_single(ask, table, row) for row in range(low, high)])


def _single(ask: Ask, table: Columns, row: int) -> dict[str, Any]:
    price, qty = table.texts(row)
    quote = quote_text(table, int(table.price[row]) * int(table.qty[row]))
    event = {"id": int(table.ids[row]), "price": price, "qty": qty, "quoteQty": quote}
    event |= {"time": ask.time(int(table.t_us[row])), "isBuyerMaker": bool(table.maker[row])}
    return event | ({"isBestMatch": True} if ask.is_spot else {})


def klines(ask: Ask) -> str:
    """Answer /klines and /uiKlines; the running bar is the last one."""
    table = _price_table(ask)
    interval = ask.query.values.get("interval", "")
    if not interval:
        raise RestError(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
    if interval not in INTERVALS_US:
        raise RestError(-1120, "Invalid interval.")
    start, end = ask.query.time_us("startTime"), ask.query.time_us("endTime")
    found = bars(table, INTERVALS_US[interval], start or 0, 2**62 if end is None else end, ask.now_us)
    limit = ask.query.limit(most=1_000 if ask.is_spot else 1_500)
    chosen = found[:limit] if start is not None else found[-limit:]
    return compact([_kline(ask, table, bar) for bar in chosen])


def _kline(ask: Ask, table: Columns, bar: Bar) -> list[Any]:
    spec = table.spec
    prices = [fixed(units, spec.price_decimals) for units in (bar.open, bar.high, bar.low, bar.close)]
    close = ask.time(bar.close_us + 1) - 1
    sums = [fixed(bar.volume, spec.qty_decimals), close, quote_text(table, bar.quote_volume), bar.trades]
    taker = [fixed(bar.taker_volume, spec.qty_decimals), quote_text(table, bar.taker_quote_volume)]
    return [ask.time(bar.open_us), *prices, *sums, *taker, "0"]


def exchange_info(ask: Ask) -> str:
    """Answer /exchangeInfo: the symbols that are listed by now, with their filters and the rate limits."""
    chosen = ask.query.symbols()
    limits = [
        _limit("REQUEST_WEIGHT", "MINUTE", 1, ask.weight_limit),
        _limit("ORDERS", "SECOND", 10, 100),
        _limit("RAW_REQUESTS", "MINUTE", 5, RAW_REQUESTS),
    ]
    specs = [s for s in ask.tape.specs(ask.now_us) if chosen is None or s.symbol in chosen]
    head = {"timezone": "UTC", "serverTime": ask.time(ask.now_us), "rateLimits": limits, "exchangeFilters": []}
    return compact(head | {"symbols": [_symbol(ask, spec) for spec in specs]})


def _limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def _symbol(ask: Ask, spec: SymbolSpec) -> dict[str, Any]:
    top = fixed(spec.tick_units * 10**10, spec.price_decimals)
    most = fixed(4_611_686_041_400_000_000, spec.qty_decimals)
    step, tick = fixed(spec.step_units, spec.qty_decimals), fixed(spec.tick_units, spec.price_decimals)
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": top, "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True, "avgPriceMins": 5},
    ]
    body: dict[str, Any] = {"symbol": spec.symbol, "status": "TRADING", "baseAsset": spec.base, "baseAssetPrecision": 8}
    body |= {"quoteAsset": spec.quote, "quotePrecision": 8, "quoteAssetPrecision": 8, "filters": filters}
    if ask.is_spot:
        return body | {"isSpotTradingAllowed": True, "orderTypes": ["LIMIT", "MARKET"], "permissionSets": [["SPOT"]]}
    return body | {"pair": spec.symbol, "contractType": "PERPETUAL", "marginAsset": spec.quote}


def ticker_24hr(ask: Ask) -> str:
    """Answer /ticker/24hr for one symbol, some, or all."""
    return _for_symbols(ask, _day)


def ticker_price(ask: Ask) -> str:
    """Answer /ticker/price."""
    return _for_symbols(ask, _last_price)


def ticker_book(ask: Ask) -> str:
    """Answer /ticker/bookTicker."""
    return _for_symbols(ask, _book)


def _for_symbols(ask: Ask, one: Callable[[Ask, Columns], dict[str, Any] | None]) -> str:
    chosen = ask.query.symbols()
    names = [spec.symbol for spec in ask.tape.specs(ask.now_us)] if chosen is None else chosen
    tables = [found for name in names if (found := price_table(ask.tape, name)) is not None]
    rows = [row for table in tables if (row := one(ask, table)) is not None]
    if "symbol" in ask.query.values:
        return compact(rows[0] if rows else {})
    return compact(rows)


_DAY_NAMES = {
    "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice", "c": "lastPrice",
    "Q": "lastQty", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty", "o": "openPrice", "h": "highPrice",
    "l": "lowPrice", "v": "volume", "q": "quoteVolume", "F": "firstId", "L": "lastId", "n": "count",
}  # fmt: skip


def _day(ask: Ask, table: Columns) -> dict[str, Any] | None:
    day = day_of(table, ask.now_us)
    if day is None:
        return None
    fields = day_fields(table, day)
    times = {"openTime": ask.time(day.open_us), "closeTime": ask.time(ask.now_us)}
    return {"symbol": table.spec.symbol, **{name: fields[key] for key, name in _DAY_NAMES.items()}, **times}


def _last_price(ask: Ask, table: Columns) -> dict[str, Any] | None:
    row = table.normal.until(ask.now_us) - 1
    if row < 0:
        return None
    return {"symbol": table.spec.symbol, "price": table.normal.texts(row)[0]}


def _book(ask: Ask, table: Columns) -> dict[str, Any] | None:
    row = table.normal.until(ask.now_us) - 1
    if row < 0:
        return None
    spec, quote = table.spec, quote_after(table, row)
    return {
        "symbol": spec.symbol,
        "bidPrice": fixed(quote.bid, spec.price_decimals),
        "bidQty": fixed(quote.bid_qty, spec.qty_decimals),
        "askPrice": fixed(quote.ask, spec.price_decimals),
        "askQty": fixed(quote.ask_qty, spec.qty_decimals),
    }


def server_time(ask: Ask) -> str:
    """Answer /time with the event clock."""
    return compact({"serverTime": ask.time(ask.now_us)})


def ping(_ask: Ask) -> str:
    """Answer /ping."""
    return "{}"


def price_table(tape: Tape, symbol: str) -> Columns | None:
    """Return the trades that make a symbol's price: the aggregates, or the single trades where only they exist."""
    return tape.agg_trades(symbol) or tape.single_trades(symbol)


def _price_table(ask: Ask) -> Columns:
    return _table(ask, lambda symbol: price_table(ask.tape, symbol))


def _table(ask: Ask, find: Callable[[str], Columns | None]) -> Columns:
    found = find(ask.query.symbol())
    if found is None:
        raise RestError(-1121, "Invalid symbol.")
    return found
