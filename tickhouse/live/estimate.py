"""What a job will bring and cost: events per second, CPU, memory, requests, disk per day (pure).

Rates are those of the exchange's own 24-hour tickers. What one event costs was measured
(`sizing.yaml`). Both are means: a market can be ten times as busy for some minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict

from common.live_job import TICK_STREAMS, LiveRequest
from producer.exchange.rest import SHARE_OF_FILLING, WEIGHTS
from tickhouse.live.market_data import MarketData

DAY_S: Final = 86_400
MINUTES_PER_DAY: Final = 1_440
# Tickers come at most once per second and symbol, and only when they changed.
TICKERS_PER_S: Final = 1.0
_SIZING_FILE: Final = Path(__file__).with_name("sizing.yaml")


class Sizing(BaseModel):
    """The content of `sizing.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measured_at: str
    bytes_per_trade: dict[str, float]
    bytes_per_tick: dict[str, float]
    bytes_per_bar: dict[str, float]
    cpu_percent_at: dict[int, float]
    memory_mb: dict[str, float]


@cache
def sizing() -> Sizing:
    """Return the measured costs."""
    return Sizing.model_validate(yaml.safe_load(_SIZING_FILE.read_text()))


@dataclass(frozen=True)
class StreamEstimate:
    """One stream of all symbols of a job, as means per second.

    Attributes:
        received_per_s: Frames; None where the exchange publishes no figure (bookTicker).
        stored_per_s: Events that are kept.
        source: Where the figure comes from.
    """

    stream: str
    received_per_s: float | None
    stored_per_s: float
    source: str


@dataclass(frozen=True)
class JobEstimate:
    """What a job of one market brings and costs.

    Attributes:
        symbols: How many symbols.
        streams: Each stream.
        cpu_percent: Of one core, for the producer.
        memory_mb: Of the producer.
        rest_round_s: With REST alone, how long a round over all symbols takes; else None.
        disk_bytes_per_day: By store, before retention removes anything.
        notes: What the figures leave out.
    """

    symbols: int
    streams: tuple[StreamEstimate, ...]
    cpu_percent: float
    memory_mb: int
    rest_round_s: float | None
    disk_bytes_per_day: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def stored_per_s(self) -> float:
        """Return the events that are kept per second, of all streams."""
        return sum(stream.stored_per_s for stream in self.streams)

    @property
    def bytes_per_day(self) -> int:
        """Return the growth of all stores of profile core together."""
        return sum(self.disk_bytes_per_day.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {**asdict(self), "stored_per_s": self.stored_per_s, "bytes_per_day": self.bytes_per_day}


def estimate(
    request: LiveRequest,
    data: MarketData,
    symbols: Sequence[str],
    *,
    trades_per_aggregate: float | None,
    weight_per_minute: int,
    costs: Sizing,
) -> JobEstimate:
    """Return what a job will bring and cost.

    Args:
        request: What was asked for.
        data: The market's tickers.
        symbols: The symbols that the job takes now.
        trades_per_aggregate: Single trades per aggregate trade; None when unknown.
        weight_per_minute: The exchange's limit of REST.
        costs: What one event costs.
    """
    tickers = [data.tickers[symbol] for symbol in symbols if symbol in data.tickers]
    trades_per_s = sum(ticker.trades_per_s for ticker in tickers)
    streams = tuple(
        _stream(name, trades_per_s, trades_per_aggregate, len(symbols), request.sample_s) for name in request.streams
    )
    frames = sum(stream.received_per_s or 0.0 for stream in streams)
    # A minute without a trade makes no bar.
    bars = sum(min(1.0, ticker.trades_per_s * 60) for ticker in tickers) * MINUTES_PER_DAY
    return JobEstimate(
        symbols=len(symbols),
        streams=streams,
        cpu_percent=round(_between(frames, costs.cpu_percent_at), 1),
        memory_mb=round(costs.memory_mb["base"] + costs.memory_mb["per_symbol"] * len(symbols) * len(streams)),
        rest_round_s=_rest_round_s(request, len(symbols), weight_per_minute),
        disk_bytes_per_day=_disk(streams, bars, costs),
        notes=tuple(_notes(request, streams, trades_per_s)),
    )


def _stream(
    name: str, trades_per_s: float, trades_per_aggregate: float | None, symbols: int, sample_s: int
) -> StreamEstimate:
    if name == "trade":
        return StreamEstimate(name, trades_per_s, trades_per_s, "count of the 24 h tickers")
    if name == "aggTrade":
        rate = trades_per_s / (trades_per_aggregate or 1.0)
        joined = f"{trades_per_aggregate:.2f}" if trades_per_aggregate else "1 (at most; no trades to look at)"
        return StreamEstimate(name, rate, rate, f"count of the 24 h tickers / single trades per aggregate {joined}")
    kept = symbols / max(sample_s, 1 / TICKERS_PER_S)
    if name == "bookTicker":
        return StreamEstimate(name, None, kept, f"at most one per symbol in {sample_s} s is kept")
    return StreamEstimate(
        name, symbols * TICKERS_PER_S, kept, f"at most one per symbol and second; one in {sample_s} s is kept"
    )


def _between(frames_per_s: float, measured: Mapping[int, float]) -> float:
    """Return the CPU between two measured rates; beyond the last one, in proportion.

    Frames cost less each the more there are, because they are encoded and sent together.
    """
    rates = [0, *sorted(measured)]
    for low, high in pairwise(rates):
        if frames_per_s <= high:
            start = measured.get(low, 0.0)
            return start + (measured[high] - start) * (frames_per_s - low) / (high - low)
    return measured[rates[-1]] * frames_per_s / rates[-1]


def _rest_round_s(request: LiveRequest, symbols: int, weight_per_minute: int) -> float | None:
    if not request.is_rest_only:
        return None
    weight = WEIGHTS[request.market]["aggTrades"] * symbols
    return round(weight / (weight_per_minute * SHARE_OF_FILLING) * 60, 1)


def _disk(streams: Sequence[StreamEstimate], bars: float, costs: Sizing) -> dict[str, int]:
    growth: dict[str, float] = {}
    for stream in streams:
        per_event = costs.bytes_per_tick if stream.stream in TICK_STREAMS else costs.bytes_per_trade
        for store, size in per_event.items():
            growth[store] = growth.get(store, 0.0) + size * stream.stored_per_s * DAY_S
    # Each trade stream has candles of its own.
    candles = sum(stream.stream not in TICK_STREAMS for stream in streams)
    for store, size in costs.bytes_per_bar.items():
        growth[store] = growth.get(store, 0.0) + size * bars * candles
    return {store: round(size) for store, size in growth.items()}


def _notes(request: LiveRequest, streams: Sequence[StreamEstimate], trades_per_s: float) -> list[str]:
    notes = []
    if not trades_per_s:
        notes.append("the exchange reports no trades of these symbols in the last 24 hours: there is no estimate")
    if any(stream.received_per_s is None for stream in streams):
        notes.append("CPU without bookTicker: the exchange publishes no figure of its updates")
    if request.is_rest_only:
        notes.append("REST alone: trades come once per round, and there are no tickers")
    return notes
