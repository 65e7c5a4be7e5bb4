"""What a rule remembers about a subject, so that one event does not ring again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class RuleState:
    """The memory of one rule about one subject.

    Attributes:
        is_ringing: It rang, and the value has not come back since.
        raised_us: The time of the last alert; for candles, the bar's time.
        since_us: Since when the condition holds; only for rules that need it for a while.
    """

    is_ringing: bool = False
    raised_us: int | None = None
    since_us: int | None = None

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def read_state(document: Mapping[str, Any]) -> RuleState:
    """Return a state from plain values."""
    return RuleState(bool(document["is_ringing"]), document["raised_us"], document["since_us"])


def key(rule: str, subject: str, *, is_historic: bool = False) -> str:
    """Return the key of a state; a replay of old data has states of its own."""
    return f"{rule}/{subject}/{'historic' if is_historic else 'live'}"


def judge(
    state: RuleState, at_us: int, cooldown_minutes: int, *, is_over: bool, is_calm: bool
) -> tuple[RuleState, bool]:
    """Return the next state, and whether an alert rings (pure).

    Two thresholds: it rings above the first, and can ring again only after the value was below the
    second. The cool-down starts at the last alert and works in both directions of time, because
    late trades change earlier minutes.

    Args:
        state: What the rule remembers.
        at_us: The time that the value is about.
        cooldown_minutes: No second alert before this time has passed.
        is_over: The value is over the rule's threshold.
        is_calm: The value has come back.
    """
    is_cooling = state.raised_us is not None and abs(at_us - state.raised_us) < cooldown_minutes * MINUTE_US
    if is_over and not state.is_ringing and not is_cooling:
        return replace(state, is_ringing=True, raised_us=at_us), True
    if is_calm and state.is_ringing and (state.raised_us is None or at_us > state.raised_us):
        return replace(state, is_ringing=False), False
    return state, False


class StateStore(Protocol):
    """A second place for states that other processes read, for example Geode.

    PostgreSQL stays the truth: there the states change in the transaction of the offsets.
    """

    def save(self, states: Mapping[str, RuleState]) -> None:
        """Add states, or replace those with the same keys."""
        ...
