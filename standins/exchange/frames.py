"""The JSON text of each stream, field by field, for spot and USD-M.

Sources: Binance's spot API documentation, and captures of fstream.binance.com of 2024.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from standins.exchange.klines import DayStatistics, Kline, day_fields, quote_after, quote_text
from standins.exchange.trade_columns import SCALE, UNIT, TradeColumns, fixed

MS = 1_000

STREAM_KINDS = ("aggTrade", "trade", "bookTicker", "ticker", "miniTicker", "kline_1m")
ALL_MINI = "!miniTicker@arr"

# A trade as plain values: id, price text, quantity text, first, last, time (us), buyer is maker.
Row = tuple[int, str, str, int, int, int, bool]


Printer = Callable[[int], str]


def printer(decimals: int) -> Printer:
    """Return the fastest function that prints units of 10^-8 with a fixed number of decimals."""
    if decimals == SCALE:
        return lambda units: f"{units // UNIT}.{units % UNIT:08d}"
    return lambda units: fixed(units, decimals)


def agg_trade(symbol: str, is_spot: bool, row: Row, event_us: int, unit: int) -> str:
    """Return an aggTrade event.

    Args:
        symbol: Upper case.
        is_spot: Spot has the field M, USD-M does not.
        row: The trade.
        event_us: Event time.
        unit: 1 prints microseconds, 1,000 prints milliseconds.
    """
    a, price, qty, first, last, time_us, maker = row
    tail = ("true" if maker else "false") + (',"M":true}' if is_spot else "}")
    return (
        f'{{"e":"aggTrade","E":{event_us // unit},"s":"{symbol}","a":{a},"p":"{price}","q":"{qty}",'
        f'"f":{first},"l":{last},"T":{time_us // unit},"m":{tail}'
    )


def single_trade(symbol: str, is_spot: bool, row: Row, event_us: int, unit: int) -> str:
    """Return a trade event; the arguments are those of `agg_trade`."""
    trade_id, price, qty, _, _, time_us, maker = row
    side = "true" if maker else "false"
    time, event = time_us // unit, event_us // unit
    if is_spot:
        return (
            f'{{"e":"trade","E":{event},"s":"{symbol}","t":{trade_id},"p":"{price}","q":"{qty}","T":{time},'
            f'"m":{side},"M":true}}'
        )
    return (
        f'{{"e":"trade","E":{event},"T":{time},"s":"{symbol}","t":{trade_id},"p":"{price}","q":"{qty}",'
        f'"X":"MARKET","m":{side}}}'
    )


def book_ticker(table: TradeColumns, row: int, event_us: int, unit: int) -> str:
    """Return the bookTicker event after a row of `table.normal`; spot has no `e` and no time."""
    spec, quote = table.spec, quote_after(table, row)
    event: dict[str, Any] = {"u": quote.update_id, "s": spec.symbol}
    event |= {"b": fixed(quote.bid, spec.price_decimals), "B": fixed(quote.bid_qty, spec.qty_decimals)}
    event |= {"a": fixed(quote.ask, spec.price_decimals), "A": fixed(quote.ask_qty, spec.qty_decimals)}
    if spec.market == "usdm":
        event = {"e": "bookTicker", **event, "T": int(table.normal.t_us[row]) // unit, "E": event_us // unit}
    return compact(event)


def ticker(table: TradeColumns, day: DayStatistics, now_us: int, unit: int) -> str:
    """Return a 24hrTicker event."""
    times = {"O": day.open_us // unit, "C": now_us // unit}
    head = {"e": "24hrTicker", "E": now_us // unit, "s": table.spec.symbol}
    return compact({**head, **day_fields(table, day), **times})


def mini_ticker(table: TradeColumns, day: DayStatistics, now_us: int, unit: int) -> str:
    """Return a 24hrMiniTicker event."""
    fields = day_fields(table, day)
    head = {"e": "24hrMiniTicker", "E": now_us // unit, "s": table.spec.symbol}
    return compact({**head, **{key: fields[key] for key in ("c", "o", "h", "l", "v", "q")}})


def kline(table: TradeColumns, bar: Kline, interval: str, event_us: int, unit: int) -> str:
    """Return the kline event of a closed bar."""
    spec = table.spec
    prices = {key: fixed(getattr(bar, name), spec.price_decimals) for key, name in _KLINE_PRICES}
    body = {"t": bar.open_us // unit, "T": (bar.close_us + 1) // unit - 1, "s": spec.symbol, "i": interval}
    body |= {"f": bar.first_id, "L": bar.last_id, **prices, "v": fixed(bar.volume, spec.qty_decimals), "n": bar.trades}
    body |= {"x": True, "q": quote_text(table, bar.quote_volume), "V": fixed(bar.taker_volume, spec.qty_decimals)}
    body |= {"Q": quote_text(table, bar.taker_quote_volume), "B": "0"}
    return compact({"e": "kline", "E": event_us // unit, "s": spec.symbol, "k": body})


_KLINE_PRICES = (("o", "open"), ("c", "close"), ("h", "high"), ("l", "low"))


def compact(document: object) -> str:
    """Print JSON as Binance does: without spaces, in UTF-8."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
