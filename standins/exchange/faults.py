"""The fault script: what goes wrong and when, as data. `playback.py` fires the faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from standins.exchange.synthetic_market import SECOND, Listing, MarketConfig


class Fault(BaseModel):
    """When a fault fires; without a moment (a live fault) it fires now.

    Durations named `wall_s` are wall time, those named `event_s` are event time. A missing duration
    means until the end.

    Args:
        at_s: Seconds of event time after the start.
        at_fraction: Fraction of the run.
        at_event: Number of the trade, counted from 0.
        at_boot: Before the market plays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_s: float | None = Field(default=None, ge=0)
    at_fraction: float | None = Field(default=None, ge=0, le=1)
    at_event: int | None = Field(default=None, ge=0)
    at_boot: bool = False

    @model_validator(mode="after")
    def _one_moment(self) -> Fault:
        given = [self.at_s is not None, self.at_fraction is not None, self.at_event is not None, self.at_boot]
        if sum(given) > 1:
            raise ValueError("Expected one of at_s, at_fraction, at_event and at_boot, was several")
        return self


class Cut(Fault):
    """Close connections without a close frame: the oldest `count`, or all."""

    kind: Literal["cut"]
    count: int | None = Field(default=None, gt=0)


class HalfOpen(Fault):
    """Send nothing, not even pongs, while the connections stay open.

    The clients lose these frames.
    """

    kind: Literal["half_open"]
    wall_s: float = Field(gt=0)
    count: int | None = Field(default=None, gt=0)


class Repeat(Fault):
    """Send a share of the trade frames twice."""

    kind: Literal["repeat"]
    percent: float = Field(gt=0, le=100)
    event_s: float | None = Field(default=None, gt=0)


class Reorder(Fault):
    """Swap a share of the trade frames with the next frame."""

    kind: Literal["reorder"]
    percent: float = Field(gt=0, le=100)
    event_s: float | None = Field(default=None, gt=0)


class Delay(Fault):
    """Hold all frames back, then send them at once; REST is not delayed."""

    kind: Literal["delay"]
    event_s: float = Field(gt=0)


class Silent(Fault):
    """Send nothing on streams whose name contains `streams`; other streams and REST continue."""

    kind: Literal["silent"]
    streams: str = "@aggTrade"
    event_s: float | None = Field(default=None, gt=0)


class Microseconds(Fault):
    """Send every time in microseconds, even if the URL asked for milliseconds."""

    kind: Literal["microseconds"]
    event_s: float | None = Field(default=None, gt=0)


class Garbage(Fault):
    """Send unique malformed frames, spread over `event_s` (default: to the end of the run)."""

    kind: Literal["garbage"]
    count: int = Field(gt=0)
    event_s: float | None = Field(default=None, gt=0)


class Acks(Fault):
    """Send unrequested acknowledgements, spread over `event_s` like malformed frames."""

    kind: Literal["acks"]
    count: int = Field(gt=0)
    event_s: float | None = Field(default=None, gt=0)


class ServerShutdown(Fault):
    """Announce a shutdown, then close the current connections after `grace_s`."""

    kind: Literal["server_shutdown"]
    grace_s: float = Field(default=2.0, ge=0)


class Refuse(Fault):
    """Drop every new connection and request without a response, except the control plane."""

    kind: Literal["refuse"]
    wall_s: float = Field(gt=0)


class WsBlocked(Fault):
    """Refuse WebSocket upgrades with 403, so that clients must poll REST."""

    kind: Literal["ws_blocked"]
    wall_s: float | None = Field(default=None, gt=0)


class Rest429(Fault):
    """Refuse the next `requests` REST requests with 429."""

    kind: Literal["rest_429"]
    requests: int = Field(default=3, gt=0)
    retry_after_s: int = Field(default=1, ge=0)


class Rest418(Fault):
    """Refuse the next `requests` REST requests with 418."""

    kind: Literal["rest_418"]
    requests: int = Field(default=1, gt=0)
    retry_after_s: int = Field(default=2, ge=0)


class Sentinels(Fault):
    """A market-level fault: trades with p '0', q '0', f -1, l -1."""

    kind: Literal["sentinel"]
    count: int = Field(gt=0)


class Decimals(Fault):
    """A market-level fault: trades that do not fit decimal(28,8) and must be rejected."""

    kind: Literal["decimals"]
    count: int = Field(gt=0)


class NewSymbol(Fault):
    """A market-level fault: a symbol that is listed in the middle of the run."""

    kind: Literal["new_symbol"]
    symbol: str = "TICKUSDT"


StreamFault = Cut | HalfOpen | Repeat | Reorder | Delay | Silent | Microseconds | Garbage | Acks
Transport = StreamFault | ServerShutdown | Refuse | WsBlocked | Rest429 | Rest418
AnyFault = Annotated[Transport | Sentinels | Decimals | NewSymbol, Field(discriminator="kind")]
LiveFault = Annotated[Transport, Field(discriminator="kind")]

MARKET_KINDS = (Sentinels, Decimals, NewSymbol)


def with_market_faults(market: MarketConfig, faults: Sequence[AnyFault]) -> MarketConfig:
    """Return the market with the market-level faults of a script added."""
    changed: dict[str, object] = {"sentinels": market.sentinels, "out_of_range": market.out_of_range}
    listings = list(market.listings)
    for fault in faults:
        if isinstance(fault, Sentinels):
            changed["sentinels"] = market.sentinels + fault.count
        elif isinstance(fault, Decimals):
            changed["out_of_range"] = market.out_of_range + fault.count
        elif isinstance(fault, NewSymbol):
            at = 0.4 if fault.at_fraction is None else fault.at_fraction
            listings.append(Listing(symbol=fault.symbol, at_fraction=at))
    return MarketConfig.model_validate({**market.model_dump(), **changed, "listings": tuple(listings)})


class Action(NamedTuple):
    """One fault to fire at one event time.

    Garbage and acks become `count` actions, numbered by `nth`.
    """

    at_us: int
    sequence: int
    nth: int
    fault: Transport


class SourceTimes(NamedTuple):
    """The times of a source that a schedule needs: start, end, and the time of the nth trade."""

    start_us: int
    end_us: int
    time_of: Callable[[int], int]


def schedule(faults: Sequence[AnyFault], source: SourceTimes, seed: int) -> list[Action]:
    """Return the actions of a script in order, without market-level faults and those at boot."""
    actions: list[Action] = []
    for number, fault in enumerate(faults):
        if isinstance(fault, MARKET_KINDS) or fault.at_boot:
            continue
        for nth, at_us in enumerate(_fire_times(fault, source, np.random.default_rng([seed, 3, number]))):
            actions.append(Action(at_us, len(actions), nth, fault))
    return sorted(actions)


def at_boot(faults: Sequence[AnyFault]) -> list[Transport]:
    """Return the faults that fire before the market plays."""
    return [fault for fault in faults if fault.at_boot and not isinstance(fault, MARKET_KINDS)]


def fire_time(fault: Fault, source: SourceTimes) -> int:
    """Return the event time at which a fault fires; the start when it names no moment."""
    if fault.at_event is not None:
        return source.time_of(fault.at_event)
    if fault.at_fraction is not None:
        return source.start_us + int((source.end_us - source.start_us) * fault.at_fraction)
    return source.start_us + int((fault.at_s or 0) * SECOND)


def _fire_times(fault: Transport, source: SourceTimes, rng: np.random.Generator) -> list[int]:
    first = fire_time(fault, source)
    if not isinstance(fault, Garbage | Acks):
        return [first]
    end = source.end_us if fault.event_s is None else min(source.end_us, first + int(fault.event_s * SECOND))
    slot = max(1, (end - first) // fault.count)
    return [first + nth * slot + int(rng.integers(0, slot)) for nth in range(fault.count)]


def is_picked(seed: int, salt: int, ordinal: int, percent: float) -> bool:
    """Return whether the nth trade is among a share of all trades.

    The choice depends only on seed, salt and ordinal (splitmix64), so every run makes the same one.
    """
    mask = 2**64 - 1
    x = (ordinal * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03 + salt) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return (x ^ (x >> 31)) % 1_000_000 < percent * 10_000
