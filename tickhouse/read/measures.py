"""Order-flow imbalance, volatility by hour and correlation, from candles. No I/O.

They take the rows that `tickhouse.read` returns, and give exact decimals with 12 places, rounded
half up. So the same commit gives the same digits; floats come in only where a chart is drawn.

    bars = read.candles("BTCUSDT", market="spot", start="2024-08-08", end="2024-08-10").arrow()
    order_flow_imbalance(bars)
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import combinations_with_replacement, pairwise

import pyarrow as pa

# As spark.batch.exact, so that a day's variance is that of gold/volatility.
_EXACT = Context(prec=120)
_PLACES = 12
_MEASURE = pa.decimal128(38, _PLACES)
_QUANTITY = pa.decimal128(38, 8)
_TIME = pa.timestamp("us", "UTC")


def order_flow_imbalance(bars: pa.Table) -> pa.Table:
    """Return the imbalance (B - S) / (B + S) of each candle, from -1 (all sold) to 1 (all bought).

    B is the volume whose taker bought, S the volume whose taker sold. Null for a silent interval.
    This is the imbalance of trades: Chordia, Roll and Subrahmanyam (2002), "Order imbalance,
    liquidity, and market returns", Journal of Financial Economics 65, pages 111 to 130. The order
    flow imbalance of Cont, Kukanov and Stoikov (2014) also counts quotes, which the lake does not
    have.

    Args:
        bars: Candles of one symbol, with `open_time`, `volume` and `taker_buy_volume`.

    Returns:
        Columns open_time, buy_volume, sell_volume, imbalance.
    """
    rows = bars.select(["open_time", "volume", "taker_buy_volume"]).to_pylist()
    bought = [row["taker_buy_volume"] for row in rows]
    sold = [row["volume"] - buy for row, buy in zip(rows, bought, strict=True)]
    imbalances = [_quotient(buy - sell, buy + sell) for buy, sell in zip(bought, sold, strict=True)]
    return pa.table(
        {
            "open_time": pa.array([row["open_time"] for row in rows], _TIME),
            "buy_volume": pa.array(bought, _QUANTITY),
            "sell_volume": pa.array(sold, _QUANTITY),
            "imbalance": pa.array(imbalances, _MEASURE),
        }
    )


def volatility_by_hour(minutes: pa.Table) -> pa.Table:
    """Return the realised volatility of each hour of the day, the mean over the days that have it.

    The realised variance of an hour is the sum of its squared 1-minute returns: Andersen and
    Bollerslev (1998), "Answering the Skeptics: Yes, Standard Volatility Models do Provide Accurate
    Forecasts", International Economic Review 39, pages 885 to 905. The volatility is the root of
    the mean variance. The first minute of a day has no return, so that the variances of a day's
    hours add up to `gold/volatility` of that day.

    Args:
        minutes: 1-minute candles of one symbol in the order of time, with `open_time` and `close`.

    Returns:
        Columns hour (UTC), days, variance, volatility; only hours that have a return.
    """
    variances: dict[tuple[int, date], Decimal] = defaultdict(Decimal)
    for time, change in _returns(minutes):
        if change is not None:
            key = (time.hour, time.date())
            variances[key] = _EXACT.add(variances[key], _EXACT.multiply(change, change))
    days = {hour: [one for (other, _), one in variances.items() if other == hour] for hour, _ in variances}
    means = {hour: _EXACT.divide(sum(found, Decimal(0)), Decimal(len(found))) for hour, found in days.items()}
    hours = sorted(days)
    return pa.table(
        {
            "hour": pa.array(hours, pa.int64()),
            "days": pa.array([len(days[hour]) for hour in hours], pa.int64()),
            "variance": pa.array([_rounded(means[hour], 24) for hour in hours], pa.decimal128(38, 24)),
            "volatility": pa.array([_rounded(_EXACT.sqrt(means[hour]), _PLACES) for hour in hours], _MEASURE),
        }
    )


def return_correlations(bars_by_symbol: Mapping[str, pa.Table]) -> pa.Table:
    """Return Pearson's correlation of the returns of each pair of symbols, at the times both have.

    r = (n·Σxy - Σx·Σy) / √((n·Σx² - (Σx)²) · (n·Σy² - (Σy)²)), in whole numbers until the root: K.
    Pearson (1895), "Note on regression and inheritance in the case of two parents", Proceedings of
    the Royal Society of London 58, pages 240 to 242. Short intervals give lower correlations,
    because two symbols do not trade at the same moment: T. W. Epps (1979), "Comovements in Stock
    Prices in the Very Short Run", Journal of the American Statistical Association 74.

    Args:
        bars_by_symbol: Candles of one interval by symbol, in the order of time, with `open_time`
            and `close`.

    Returns:
        Columns symbol, other, returns, correlation; each pair once, and each symbol with itself.
        Null where a symbol has fewer than two returns or its price did not move.
    """
    moves = {
        symbol: {time: _scaled(change) for time, change in _returns(bars) if change is not None}
        for symbol, bars in bars_by_symbol.items()
    }
    pairs = list(combinations_with_replacement(sorted(moves), 2))
    shared = [sorted(moves[one].keys() & moves[other].keys()) for one, other in pairs]
    found = [
        _correlation([moves[one][time] for time in times], [moves[other][time] for time in times])
        for (one, other), times in zip(pairs, shared, strict=True)
    ]
    return pa.table(
        {
            "symbol": pa.array([one for one, _ in pairs], pa.string()),
            "other": pa.array([other for _, other in pairs], pa.string()),
            "returns": pa.array([len(times) for times in shared], pa.int64()),
            "correlation": pa.array(found, _MEASURE),
        }
    )


def _returns(bars: pa.Table) -> Iterable[tuple[datetime, Decimal | None]]:
    """Yield (open time, close / close before - 1) of each candle but the first of its UTC day."""
    rows = list(zip(bars["open_time"].to_pylist(), bars["close"].to_pylist(), strict=True))
    for (before_time, before), (time, close) in pairwise(rows):
        if time.date() == before_time.date() and before is not None and close is not None:
            yield time, _quotient(_EXACT.subtract(close, before), before)


def _correlation(xs: list[int], ys: list[int]) -> Decimal | None:
    n = len(xs)
    spread_x = n * sum(x * x for x in xs) - sum(xs) ** 2
    spread_y = n * sum(y * y for y in ys) - sum(ys) ** 2
    if not spread_x or not spread_y:
        return None
    together = n * sum(x * y for x, y in zip(xs, ys, strict=True)) - sum(xs) * sum(ys)
    # The root of a whole number with 40 more digits, so that the quotient is exact to 12 places.
    root = math.isqrt(spread_x * spread_y * 10**40)
    return _rounded(_EXACT.divide(Decimal(together) * 10**20, Decimal(root)), _PLACES)


def _quotient(numerator: Decimal, denominator: Decimal) -> Decimal | None:
    return None if not denominator else _rounded(_EXACT.divide(numerator, denominator), _PLACES)


def _rounded(value: Decimal, places: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT)


def _scaled(value: Decimal) -> int:
    return int(value.scaleb(_PLACES))
