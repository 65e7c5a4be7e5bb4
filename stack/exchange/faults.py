"""The fault script: what goes wrong, and when, as data. Firing is in playback.py and hub.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stack.exchange.market import SECOND, Listing, MarketConfig

# A garbage frame is followed by a ping, and the pong counts as a client message; Binance allows 5 a second.
MIN_GARBAGE_SPACING_S = 0.5


class Fault(BaseModel):
    """When a fault fires: seconds of event time, a fraction of the run, the nth trade of the tape, or before the start.

    None of them (a live fault) means now. `wall_s` durations are wall clock, `event_s` durations are event time; left
    out means until the end.
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
    """Close sockets abruptly, without a close frame: the oldest `count`, or all."""

    kind: Literal["cut"]
    count: int | None = Field(default=None, gt=0)


class HalfOpen(Fault):
    """Stop sending anything, pongs included, while the sockets stay open; what is played meanwhile is lost to them."""

    kind: Literal["half_open"]
    wall_s: float = Field(gt=0)
    count: int | None = Field(default=None, gt=0)


class Repeat(Fault):
    """Send a share of the trade frames twice."""

    kind: Literal["repeat"]
    percent: float = Field(gt=0, le=100)
    event_s: float | None = Field(default=None, gt=0)


class Reorder(Fault):
    """Swap a share of the trade frames with the next frame of the stream's batch."""

    kind: Literal["reorder"]
    percent: float = Field(gt=0, le=100)
    event_s: float | None = Field(default=None, gt=0)


class Delay(Fault):
    """Hold every frame back, then send all at once; REST is not delayed."""

    kind: Literal["delay"]
    event_s: float = Field(gt=0)


class Microseconds(Fault):
    """Print every time in microseconds, whatever the URL asked for."""

    kind: Literal["microseconds"]
    event_s: float | None = Field(default=None, gt=0)


class Garbage(Fault):
    """Send frames that are no events, each one unique, spread over `event_s` (default: to the end of the run)."""

    kind: Literal["garbage"]
    count: int = Field(gt=0)
    event_s: float | None = Field(default=None, gt=0)


class Acks(Fault):
    """Send acknowledgements nobody asked for, spread as garbage is."""

    kind: Literal["acks"]
    count: int = Field(gt=0)
    event_s: float | None = Field(default=None, gt=0)


class ServerShutdown(Fault):
    """Announce a shutdown, then close every connection of that moment after `grace_s`."""

    kind: Literal["server_shutdown"]
    grace_s: float = Field(default=2.0, ge=0)


class Refuse(Fault):
    """Drop every new connection and request before an answer; the control plane stays."""

    kind: Literal["refuse"]
    wall_s: float = Field(gt=0)


class WsBlocked(Fault):
    """Answer WebSocket upgrades with 403, so that clients must poll REST."""

    kind: Literal["ws_blocked"]
    wall_s: float | None = Field(default=None, gt=0)


class Rest429(Fault):
    """Answer the next `requests` REST requests with 429."""

    kind: Literal["rest_429"]
    requests: int = Field(default=3, gt=0)
    retry_after_s: int = Field(default=1, ge=0)


class Rest418(Fault):
    """Answer the next `requests` REST requests with 418."""

    kind: Literal["rest_418"]
    requests: int = Field(default=1, gt=0)
    retry_after_s: int = Field(default=2, ge=0)


class Sentinels(Fault):
    """Part of the market, not of the transport: trades with p '0', q '0', f -1, l -1."""

    kind: Literal["sentinel"]
    count: int = Field(gt=0)


class Decimals(Fault):
    """Part of the market: trades that decimal(28,8) does not hold, the expected rejections."""

    kind: Literal["decimals"]
    count: int = Field(gt=0)


class NewSymbol(Fault):
    """Part of the market: a symbol that is listed in the middle of the run."""

    kind: Literal["new_symbol"]
    symbol: str = "TICKUSDT"


StreamFault = Cut | HalfOpen | Repeat | Reorder | Delay | Microseconds | Garbage | Acks
Transport = StreamFault | ServerShutdown | Refuse | WsBlocked | Rest429 | Rest418
AnyFault = Annotated[Transport | Sentinels | Decimals | NewSymbol, Field(discriminator="kind")]
LiveFault = Annotated[Transport, Field(discriminator="kind")]

MARKET_KINDS = (Sentinels, Decimals, NewSymbol)


def folded_into(market: MarketConfig, faults: Sequence[AnyFault]) -> MarketConfig:
    """Return the market with the market-level faults of a script added to it."""
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
    """One thing to do at one event time; a garbage or acks fault becomes `count` actions, numbered by `nth`."""

    at_us: int
    sequence: int
    nth: int
    fault: Transport


class Clockwork(NamedTuple):
    """What a schedule needs to know of the tape: where it starts and ends, and when its nth trade is."""

    start_us: int
    end_us: int
    time_of: Callable[[int], int]


def schedule(faults: Sequence[AnyFault], tape: Clockwork, seed: int) -> list[Action]:
    """Return the actions of a script in order; faults at boot and market-level ones are left out."""
    actions: list[Action] = []
    for number, fault in enumerate(faults):
        if isinstance(fault, MARKET_KINDS) or fault.at_boot:
            continue
        for nth, at_us in enumerate(_moments(fault, tape, np.random.default_rng([seed, 3, number]))):
            actions.append(Action(at_us, len(actions), nth, fault))
    return sorted(actions)


def at_boot(faults: Sequence[AnyFault]) -> list[Transport]:
    """Return the faults that hold before the market plays."""
    return [fault for fault in faults if fault.at_boot and not isinstance(fault, MARKET_KINDS)]


def moment(fault: Fault, tape: Clockwork) -> int:
    """Return the event time at which a fault fires; the start when it names none."""
    if fault.at_event is not None:
        return tape.time_of(fault.at_event)
    if fault.at_fraction is not None:
        return tape.start_us + int((tape.end_us - tape.start_us) * fault.at_fraction)
    return tape.start_us + int((fault.at_s or 0) * SECOND)


def _moments(fault: Transport, tape: Clockwork, rng: np.random.Generator) -> list[int]:
    first = moment(fault, tape)
    if not isinstance(fault, Garbage | Acks):
        return [first]
    end = tape.end_us if fault.event_s is None else min(tape.end_us, first + int(fault.event_s * SECOND))
    slot = max(1, (end - first) // fault.count)
    return [first + nth * slot + int(rng.integers(0, slot)) for nth in range(fault.count)]


def is_picked(seed: int, salt: int, ordinal: int, percent: float) -> bool:
    """Decide by the seed alone whether the nth trade is among `percent` of all (splitmix64 of the ordinal)."""
    mask = 2**64 - 1
    x = (ordinal * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03 + salt) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return (x ^ (x >> 31)) % 1_000_000 < percent * 10_000
