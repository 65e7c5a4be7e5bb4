from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from common.errors import ConfigurationError
from standins.exchange import faults
from standins.exchange.config import DEMO, ExchangeConfig, load_config
from standins.exchange.malformed_frames import malformed_frame

CLOCK = faults.SourceTimes(0, 1_000_000_000, lambda event: event * 10)
ANY: TypeAdapter[faults.AnyFault] = TypeAdapter(faults.AnyFault)


def one(**values: object) -> faults.AnyFault:
    return ANY.validate_python(values)


def test_fire_times_are_seconds_fractions_or_trades() -> None:
    script = [one(kind="cut", at_event=7), one(kind="cut", at_s=1), one(kind="cut", at_fraction=0.5), one(kind="cut")]
    assert [action.at_us for action in faults.schedule(script, CLOCK, 1)] == [0, 70, 1_000_000, 500_000_000]


def test_spread_faults_stay_in_their_interval_and_follow_the_seed() -> None:
    script = [one(kind="garbage", count=9, at_s=100, event_s=200)]
    first, again, other = (faults.schedule(script, CLOCK, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 9
    assert all(100_000_000 <= action.at_us < 300_000_000 for action in first)
    assert sorted(action.nth for action in first) == list(range(9))


def test_boot_and_market_faults_are_not_scheduled() -> None:
    script = [one(kind="refuse", wall_s=1, at_boot=True), one(kind="sentinel", count=2), one(kind="decimals", count=1)]
    assert faults.schedule(script, CLOCK, 1) == []
    assert [fault.kind for fault in faults.at_boot(script)] == ["refuse"]


def test_market_faults_become_part_of_the_market() -> None:
    script = [{"kind": "sentinel", "count": 5}, {"kind": "decimals", "count": 4}, {"kind": "new_symbol"}]
    market = ExchangeConfig.model_validate({"faults": script}).full_market
    assert (market.sentinels, market.out_of_range) == (5, 4)
    assert [listing.symbol for listing in market.listings] == ["TICKUSDT"]


TWICE = {"kind": "cut", "at_s": 1, "at_event": 1}
WRONG: list[dict[str, object]] = [TWICE, {"kind": "nothing"}, {"kind": "cut", "x": 1}]


@pytest.mark.parametrize("values", WRONG)
def test_wrong_faults_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        one(**values)


@settings(deadline=None)  # 4,000 hashes per example
@given(st.integers(0, 2**63), st.floats(1, 60))
def test_the_share_of_picked_trades_is_the_percent(seed: int, percent: float) -> None:
    picked = sum(faults.is_picked(seed, 1, nth, percent) for nth in range(4_000))
    assert abs(picked / 4_000 - percent / 100) < 0.05


def test_malformed_frames_are_unique_and_have_no_readable_id() -> None:
    made = [malformed_frame(7, nth, "BTCUSDT", is_combined=nth % 2 == 0) for nth in range(70)]
    assert len({one.payload for one in made}) == 70
    assert {one.reason for one in made} == {
        "invalid_json", "not_utf8", "not_an_object", "missing_field", "wrong_type", "unknown_event_type",
    }  # fmt: skip
    assert not any(b'"a":1' in one.payload or b'"t":' in one.payload for one in made)


def test_the_demo_has_the_promised_size() -> None:
    config = load_config(DEMO)
    market = config.full_market
    assert len(market.symbols) == 24
    assert market.length_s >= 20 * 60
    assert market.events >= 200_000
    assert config.playback.speed != "max"
    assert 60 <= market.length_s / config.playback.speed <= 75
    kinds = [fault.kind for fault in config.faults]
    assert kinds.count("cut") == 3
    assert {"repeat", "garbage", "microseconds", "acks", "sentinel", "new_symbol", "decimals", "rest_429"} <= set(kinds)


@pytest.mark.parametrize("text", ["[1]", "typo: 1", "a: b: c", "playback: {speed: fast}", "market: {events: 1}"])
def test_a_wrong_file_is_a_configuration_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"wrong\.yaml"):
        load_config(path)
    with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
        load_config(tmp_path / "missing.yaml")


def test_a_capture_cannot_have_live_times() -> None:
    with pytest.raises(ValidationError, match="live_times"):
        ExchangeConfig.model_validate({"capture": {"files": ["x"]}, "playback": {"live_times": True}})
