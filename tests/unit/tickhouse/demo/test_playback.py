"""The demo's playback: lag, pace, the local exchange's state."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from common.errors import ServiceNotReady
from common.settings import Settings
from tickhouse.demo import playback
from tickhouse.demo.playback import Pacer, exchange_state, lag_records

PLAYING = {"state": "playing", "speed": 20.0, "trades_played": 1}


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None)


@pytest.fixture
def paces(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the paces that the exchange receives, in order."""
    received: list[object] = []
    monkeypatch.setattr(playback, "set_pace", lambda _, speed: received.append(speed))
    monkeypatch.setattr(playback, "PACE_EVERY_S", 0.0)
    return received


def with_lags(monkeypatch: pytest.MonkeyPatch, lags: list[int]) -> None:
    seen = iter(lags)
    monkeypatch.setattr(playback, "lag_records", lambda _: next(seen))


def test_the_exchange_gets_a_pace_only_when_it_changes(
    settings: Settings, paces: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lags(monkeypatch, [0, 30_000, 45_000, 90_000, 90_000, 10_000, 10_000])
    pacer = Pacer(settings)
    assert [pacer.adjust(PLAYING) for _ in range(7)] == [0, 30_000, 45_000, 90_000, 90_000, 10_000, 10_000]
    assert paces == [10.0, 0.0, 1.25, 1.875]


def test_a_market_that_waits_or_is_done_keeps_its_pace(settings: Settings, paces: list[object]) -> None:
    pacer = Pacer(settings)
    for state in ("waiting", "done"):
        assert pacer.adjust({**PLAYING, "state": state}) == 0
    assert paces == []


def test_a_market_at_full_speed_pauses_or_plays(
    settings: Settings, paces: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lags(monkeypatch, [0, 50_000, 90_000, 30_000, 10_000])
    pacer = Pacer(settings)
    for _ in range(5):
        pacer.adjust({**PLAYING, "speed": "max"})
    assert paces == [0.0, "max"]


def test_a_sink_that_has_read_nothing_lags_by_its_whole_topic(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    section: dict[str, Any] = {
        "records": {"crypto.trades": 900, "crypto.trades.enriched": 700, "crypto.ticks": 3},
        "lag_records": {"stream:candles": 5, "stream:last": 9, "connect-mongodb-trades": 40, "somebody": 10_000},
    }
    monkeypatch.setattr(playback, "kafka_status", lambda _: section)
    monkeypatch.setattr(playback, "enabled_sinks", lambda _: ())
    assert lag_records(settings) == 40
    monkeypatch.setattr(playback, "enabled_sinks", lambda _: ("mongodb",))
    assert lag_records(settings) == 900  # mongodb-trades-raw has confirmed nothing yet


def test_an_exchange_that_does_not_answer_may_be_asked_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> httpx.Response:
        raise httpx.ReadTimeout("timed out")

    monkeypatch.setattr(httpx, "request", fail)
    with pytest.raises(ServiceNotReady, match=r"The exchange did not answer: timed out\."):
        exchange_state(settings)
