from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tickhouse.alerts.state import MINUTE_US, RuleState, judge, key, read_state

T0 = 1_000 * MINUTE_US


def test_it_rings_once_until_the_value_came_back() -> None:
    state, rings = judge(RuleState(), T0, 0, is_over=True, is_calm=False)
    assert rings

    state, again = judge(state, T0 + MINUTE_US, 0, is_over=True, is_calm=False)
    state, between = judge(state, T0 + 2 * MINUTE_US, 0, is_over=False, is_calm=False)
    state, still = judge(state, T0 + 3 * MINUTE_US, 0, is_over=True, is_calm=False)
    assert (again, between, still) == (False, False, False)

    state, _ = judge(state, T0 + 4 * MINUTE_US, 0, is_over=False, is_calm=True)
    _, rings = judge(state, T0 + 5 * MINUTE_US, 0, is_over=True, is_calm=False)
    assert rings


def test_it_rings_not_within_the_cool_down() -> None:
    state, _ = judge(RuleState(), T0, 15, is_over=True, is_calm=False)
    state, _ = judge(state, T0 + MINUTE_US, 15, is_over=False, is_calm=True)

    _, early = judge(state, T0 + 14 * MINUTE_US, 15, is_over=True, is_calm=False)
    _, late = judge(state, T0 + 15 * MINUTE_US, 15, is_over=True, is_calm=False)

    assert (early, late) == (False, True)


def test_a_late_trade_of_an_earlier_minute_rings_no_second_time() -> None:
    state, _ = judge(RuleState(), T0, 15, is_over=True, is_calm=False)
    state, _ = judge(state, T0 - MINUTE_US, 15, is_over=False, is_calm=True)
    assert state.is_ringing

    state, _ = judge(state, T0 + MINUTE_US, 15, is_over=False, is_calm=True)
    _, rings = judge(state, T0 - 2 * MINUTE_US, 15, is_over=True, is_calm=False)
    assert not rings


def test_an_earlier_minute_beyond_the_cool_down_rings() -> None:
    state, _ = judge(RuleState(is_ringing=False, raised_us=T0), T0 - 15 * MINUTE_US, 15, is_over=True, is_calm=False)

    assert state.raised_us == T0 - 15 * MINUTE_US


def test_old_data_has_a_state_of_its_own() -> None:
    assert key("jump", "spot:BTCUSDT") != key("jump", "spot:BTCUSDT", is_historic=True)


@given(st.booleans(), st.none() | st.integers(0, 2**62), st.none() | st.integers(0, 2**62))
def test_a_stored_state_is_the_same_state(is_ringing: bool, raised_us: int | None, since_us: int | None) -> None:
    state = RuleState(is_ringing, raised_us, since_us)

    assert read_state(state.document()) == state


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=40), st.integers(0, 20))
def test_two_alerts_are_never_nearer_than_the_cool_down(steps: list[tuple[int, bool]], cooldown: int) -> None:
    state, rung, at = RuleState(), [], T0
    for minutes, is_over in steps:
        at += minutes * MINUTE_US
        state, rings = judge(state, at, cooldown, is_over=is_over, is_calm=not is_over)
        rung += [at] if rings else []

    assert all(later - earlier >= cooldown * MINUTE_US for earlier, later in pairwise(rung))
