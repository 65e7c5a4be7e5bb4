"""The last minutes of each symbol, as whole numbers of 10^-8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from tickhouse.alerts.state import MINUTE_US

# Scale of the prices and quantities of a candle (schemas/candle.avsc).
UNITS: Final = 10**8


class CandleStream(NamedTuple):
    """The stream that a candle comes from."""

    market: str
    symbol: str
    stream: str

    @property
    def subject(self) -> str:
        """Return the subject of its alerts; the streams of one symbol share it."""
        return f"{self.market}:{self.symbol}"


class PriceBar(NamedTuple):
    """One minute of one symbol."""

    minute_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int


def bar_of(candle: Mapping[str, Any]) -> tuple[CandleStream, PriceBar]:
    """Return stream and bar of a decoded candle."""
    stream = CandleStream(candle["market"], candle["symbol"], candle["stream"])
    prices = (candle["open"], candle["high"], candle["low"], candle["close"], candle["volume"])
    return stream, PriceBar(candle["open_time"], *prices)


# Returns the bars of a stream in [from, until), in µs since 1970.
History = Callable[[CandleStream, int, int], Iterable[PriceBar]]


class Windows:
    """Keeps the bars that rules look back at.

    Args:
        minutes: The longest look back.
        history: Reads bars that are not here: after a start, and when a symbol was silent.
    """

    def __init__(self, minutes: int, history: History) -> None:
        self._minutes = minutes
        self._history = history
        self._bars: dict[CandleStream, dict[int, PriceBar]] = {}

    def put(self, stream: CandleStream, bar: PriceBar) -> None:
        """Add a bar, or replace the one of its minute."""
        bars = self._bars.setdefault(stream, {})
        if bar.minute_us not in bars and bar.minute_us - MINUTE_US not in bars:
            first = bar.minute_us - self._minutes * MINUTE_US
            bars.update((old.minute_us, old) for old in self._history(stream, first, bar.minute_us))
        bars[bar.minute_us] = bar
        for oldest in list(bars)[: max(0, len(bars) - 2 * self._minutes - 2)]:
            del bars[oldest]

    def before(self, stream: CandleStream, minute_us: int, minutes: int) -> list[PriceBar]:
        """Return the bars of the `minutes` before a minute, oldest first, without silent ones."""
        bars = self._bars.get(stream, {})
        wanted = range(minute_us - minutes * MINUTE_US, minute_us, MINUTE_US)
        return [bars[at] for at in wanted if at in bars]
