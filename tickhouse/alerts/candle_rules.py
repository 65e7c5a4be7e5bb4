"""Judge candles: pure functions over bars, with whole numbers only.

Both conditions can only become true while a bar fills, never false: its high only rises, its low
only falls, its volume only grows. So it does not matter in which steps a bar arrives, and a repeat
gives the same alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

from tickhouse.alerts.rules import PriceMove, VolumeSpike
from tickhouse.alerts.windows import UNITS, PriceBar

_HUNDREDTH = Decimal("0.01")
# Volumes have up to 38 digits, and a window up to 240 minutes; no division below loses a digit that
# a threshold could need.
_EXACT = Context(prec=100, rounding=ROUND_HALF_UP)


class RuleFinding(NamedTuple):
    """What a rule sees: whether it is over its threshold, whether it is calm, and the figures."""

    is_over: bool
    is_calm: bool
    text: str
    values: dict[str, str]


def price_move(rule: PriceMove, bar: PriceBar, before: Sequence[PriceBar]) -> RuleFinding | None:
    """Compare a bar with the lowest and the highest price of the window that it ends.

    Within the bar itself only its open is surely earlier than its high and low.

    Args:
        rule: Percent and window.
        bar: The last bar of the window.
        before: The bars of the window before it.
    """
    low = min([bar.open, *(one.low for one in before)])
    high = max([bar.open, *(one.high for one in before)])
    if low <= 0 or bar.low <= 0:
        return None
    rise, fall = _ratio(100 * (bar.high - low), low), _ratio(100 * (high - bar.low), high)
    is_rise = rise >= fall
    size, start, end = (rise, low, bar.high) if is_rise else (fall, high, bar.low)
    values = {
        "change_percent": _rounded(size if is_rise else size.copy_negate()),
        "from_price": fixed(start),
        "to_price": fixed(end),
        "threshold_percent": str(rule.percent),
        "window_minutes": str(rule.window_minutes),
    }
    verb = "rose" if is_rise else "fell"
    text = f"{verb} {_rounded(size)} % within {rule.window_minutes} minutes, from {fixed(start)} to {fixed(end)}"
    return RuleFinding(size >= rule.percent, size < rule.percent / 2, text, values)


def volume_spike(rule: VolumeSpike, bar: PriceBar, before: Sequence[PriceBar]) -> RuleFinding | None:
    """Compare a bar's volume with the mean of the traded minutes of its history.

    Returns None when the history has too few traded minutes.
    """
    total = sum(one.volume for one in before)
    if len(before) < rule.least_history or total <= 0:
        return None
    times = _ratio(bar.volume * len(before), total)
    values = {
        "times": _rounded(times),
        "volume": fixed(bar.volume),
        "mean_volume": fixed(total // len(before)),
        "threshold_times": str(rule.factor),
        "history_minutes": str(len(before)),
    }
    text = f"traded {fixed(bar.volume)} in one minute, {_rounded(times)} times its mean of {len(before)} minutes"
    return RuleFinding(times >= rule.factor, times < rule.factor / 2, text, values)


def look(rule: PriceMove | VolumeSpike, bar: PriceBar, before: Sequence[PriceBar]) -> RuleFinding | None:
    """Judge a bar by a rule; `before` holds the bars of `look_back(rule)` minutes."""
    return price_move(rule, bar, before) if isinstance(rule, PriceMove) else volume_spike(rule, bar, before)


def look_back(rule: PriceMove | VolumeSpike) -> int:
    """Return how many minutes before a bar the rule needs."""
    return rule.window_minutes - 1 if isinstance(rule, PriceMove) else rule.history_minutes


def fixed(units: int) -> str:
    """Return units of 10^-8 as a plain decimal number without trailing zeros."""
    whole, part = divmod(units, UNITS)
    return f"{whole}.{part:08}".rstrip("0").rstrip(".")


def _ratio(number: int, of: int) -> Decimal:
    return _EXACT.divide(Decimal(number), Decimal(of))


def _rounded(number: Decimal) -> str:
    return f"{number.quantize(_HUNDREDTH, context=_EXACT):f}"
