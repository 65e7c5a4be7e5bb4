"""REST responses as pure functions of a frame source, a moment and the parameters.

A response contains only trades with a time <= `now_us`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from standins.exchange.frame_source import FrameSource
from standins.exchange.frames import compact
from standins.exchange.klines import INTERVALS_US, Kline, bars, day_fields, day_of, quote_after, quote_text
from standins.exchange.rest_parameters import RestError, RestParameters
from standins.exchange.trade_columns import SymbolSpec, TradeColumns, fixed

# The rateLimits are those of Binance in 2026; the local exchange enforces only REQUEST_WEIGHT.
RAW_REQUESTS = 300_000


class RestRequest(NamedTuple):
    """One request: the source, the moment, the parameters, the time unit of the response."""

    source: FrameSource
    now_us: int
    query: RestParameters
    is_micro: bool
    weight_limit: int

    def time(self, time_us: int) -> int:
        """Return a time in the unit that the client asked for."""
        return time_us if self.is_micro else time_us // 1_000

    @property
    def is_spot(self) -> bool:
        """Return whether this is the spot market."""
        return self.source.market == "spot"


def _window(request: RestRequest, table: TradeColumns, limit: int) -> tuple[int, int]:
    """Return the rows that a request selects by id or time.

    Binance applies the rules in this order.
    """
    played = table.until(request.now_us)
    from_id, start, end = (
        request.query.number("fromId"),
        request.query.time_us("startTime"),
        request.query.time_us("endTime"),
    )
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


def agg_trades(request: RestRequest) -> str:
    """Respond to /aggTrades."""
    table = _table(request, request.source.agg_trades)
    low, high = _window(request, table, request.query.limit())
    tail = ',"M":true}' if request.is_spot else "}"
    unit = 1 if request.is_micro else 1_000
    columns = (table.ids, table.first, table.last, table.t_us, table.maker)
    rows = zip(range(low, high), *(c[low:high].tolist() for c in columns), strict=True)
    trades = []
    for row, a, first, last, time_us, maker in rows:
        price, qty = table.texts(row)
        trades.append(
            f'{{"a":{a},"p":"{price}","q":"{qty}","f":{first},"l":{last},"T":{time_us // unit},'
            f'"m":{"true" if maker else "false"}{tail}'
        )
    return f"[{','.join(trades)}]"


def recent_trades(request: RestRequest) -> str:
    """Respond to /trades (the latest) and /historicalTrades (from an id)."""
    table = _table(request, request.source.single_trades)
    low, high = _window(request, table, request.query.limit())
    return compact([_single(request, table, row) for row in range(low, high)])


def _single(request: RestRequest, table: TradeColumns, row: int) -> dict[str, Any]:
    price, qty = table.texts(row)
    quote = quote_text(table, int(table.price[row]) * int(table.qty[row]))
    event = {"id": int(table.ids[row]), "price": price, "qty": qty, "quoteQty": quote}
    event |= {"time": request.time(int(table.t_us[row])), "isBuyerMaker": bool(table.maker[row])}
    return event | ({"isBestMatch": True} if request.is_spot else {})


def klines(request: RestRequest) -> str:
    """Respond to /klines and /uiKlines; the last kline is the current one."""
    table = _price_table(request)
    interval = request.query.values.get("interval", "")
    if not interval:
        raise RestError(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
    if interval not in INTERVALS_US:
        raise RestError(-1120, "Invalid interval.")
    start, end = request.query.time_us("startTime"), request.query.time_us("endTime")
    candles = bars(table, INTERVALS_US[interval], start or 0, 2**62 if end is None else end, request.now_us)
    limit = request.query.limit(most=1_000 if request.is_spot else 1_500)
    chosen = candles[:limit] if start is not None else candles[-limit:]
    return compact([_kline(request, table, bar) for bar in chosen])


def _kline(request: RestRequest, table: TradeColumns, bar: Kline) -> list[Any]:
    spec = table.spec
    prices = [fixed(units, spec.price_decimals) for units in (bar.open, bar.high, bar.low, bar.close)]
    close = request.time(bar.close_us + 1) - 1
    sums = [fixed(bar.volume, spec.qty_decimals), close, quote_text(table, bar.quote_volume), bar.trades]
    taker = [fixed(bar.taker_volume, spec.qty_decimals), quote_text(table, bar.taker_quote_volume)]
    return [request.time(bar.open_us), *prices, *sums, *taker, "0"]


def exchange_info(request: RestRequest) -> str:
    """Respond to /exchangeInfo: the listed symbols with their filters, and the rate limits."""
    chosen = request.query.symbols()
    limits = [
        _limit("REQUEST_WEIGHT", "MINUTE", 1, request.weight_limit),
        _limit("ORDERS", "SECOND", 10, 100),
        _limit("RAW_REQUESTS", "MINUTE", 5, RAW_REQUESTS),
    ]
    specs = [s for s in request.source.specs(request.now_us) if chosen is None or s.symbol in chosen]
    head = {"timezone": "UTC", "serverTime": request.time(request.now_us), "rateLimits": limits, "exchangeFilters": []}
    return compact(head | {"symbols": [_symbol(request, spec) for spec in specs]})


def _limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def _symbol(request: RestRequest, spec: SymbolSpec) -> dict[str, Any]:
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
    if request.is_spot:
        return body | {"isSpotTradingAllowed": True, "orderTypes": ["LIMIT", "MARKET"], "permissionSets": [["SPOT"]]}
    return body | {"pair": spec.symbol, "contractType": "PERPETUAL", "marginAsset": spec.quote}


def ticker_24hr(request: RestRequest) -> str:
    """Respond to /ticker/24hr for one symbol, some, or all."""
    return _for_symbols(request, _day)


def ticker_price(request: RestRequest) -> str:
    """Respond to /ticker/price."""
    return _for_symbols(request, _last_price)


def ticker_book(request: RestRequest) -> str:
    """Respond to /ticker/bookTicker."""
    return _for_symbols(request, _book)


def _for_symbols(request: RestRequest, one: Callable[[RestRequest, TradeColumns], dict[str, Any] | None]) -> str:
    chosen = request.query.symbols()
    names = [spec.symbol for spec in request.source.specs(request.now_us)] if chosen is None else chosen
    tables = [found for name in names if (found := price_table(request.source, name)) is not None]
    rows = [row for table in tables if (row := one(request, table)) is not None]
    if "symbol" in request.query.values:
        return compact(rows[0] if rows else {})
    return compact(rows)


_DAY_NAMES = {
    "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice", "c": "lastPrice",
    "Q": "lastQty", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty", "o": "openPrice", "h": "highPrice",
    "l": "lowPrice", "v": "volume", "q": "quoteVolume", "F": "firstId", "L": "lastId", "n": "count",
}  # fmt: skip


def _day(request: RestRequest, table: TradeColumns) -> dict[str, Any] | None:
    day = day_of(table, request.now_us)
    if day is None:
        return None
    fields = day_fields(table, day)
    # A market that is younger than a day has a shorter window, so that count / window is its rate.
    open_us = max(day.open_us, int(table.normal.t_us[0]))
    times = {"openTime": request.time(open_us), "closeTime": request.time(request.now_us)}
    return {"symbol": table.spec.symbol, **{name: fields[key] for key, name in _DAY_NAMES.items()}, **times}


def _last_price(request: RestRequest, table: TradeColumns) -> dict[str, Any] | None:
    row = table.normal.until(request.now_us) - 1
    if row < 0:
        return None
    return {"symbol": table.spec.symbol, "price": table.normal.texts(row)[0]}


def _book(request: RestRequest, table: TradeColumns) -> dict[str, Any] | None:
    row = table.normal.until(request.now_us) - 1
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


def server_time(request: RestRequest) -> str:
    """Respond to /time with the time of the event clock."""
    return compact({"serverTime": request.time(request.now_us)})


def ping(_ask: RestRequest) -> str:
    """Respond to /ping."""
    return "{}"


def price_table(source: FrameSource, symbol: str) -> TradeColumns | None:
    """Return the trades that make a symbol's price: aggregates, otherwise single trades."""
    return source.agg_trades(symbol) or source.single_trades(symbol)


def _price_table(request: RestRequest) -> TradeColumns:
    return _table(request, lambda symbol: price_table(request.source, symbol))


def _table(request: RestRequest, find: Callable[[str], TradeColumns | None]) -> TradeColumns:
    table = find(request.query.symbol())
    if table is None:
        raise RestError(-1121, "Invalid symbol.")
    return table
