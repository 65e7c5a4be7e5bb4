"""The configuration of the look-alike: frozen, typed, unknown keys refused."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stack.exchange.columns import MarketName
from stack.exchange.faults import AnyFault, folded_into
from stack.exchange.market import MarketConfig
from tickhouse.errors import ConfigurationError

DEMO = Path(__file__).with_name("demo.yaml")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Capture(_Part):
    """Recorded files to play instead of the synthetic market, in the order given, all of one market."""

    files: tuple[Path, ...] = Field(min_length=1)
    market: MarketName = "spot"
    symbol: str | None = None


class Playback(_Part):
    """How event time passes.

    Args:
        speed: Seconds of event time a second; `max` is as fast as the clients take it.
        start: What starts the clock: the first subscription, the first market-data request of any kind, the control
            plane, or the start of the server.
        start_after_s: Wall seconds between that and the first event, so that several connections can subscribe.
        live_times: Move the market so that it starts now, and give every frame the wall clock as its event time.
        slow_client: What a client whose buffer is full does to the market: `stall` it, or be `cut` as by Binance.
    """

    speed: float | Literal["max"] = Field(default=1.0)
    start: Literal["subscription", "client", "control", "boot"] = "subscription"
    start_after_s: float = Field(default=0.0, ge=0)
    live_times: bool = False
    slow_client: Literal["stall", "cut"] = "stall"


class WebSocketRules(_Part):
    """Binance's rules for a connection; every number may be shortened for a test."""

    ping_interval_s: float = Field(default=20.0, gt=0)
    pong_timeout_s: float = Field(default=60.0, gt=0)
    lifetime_s: float = Field(default=86_400.0, gt=0)
    messages_per_s: int = Field(default=5, gt=0)
    max_streams: int = Field(default=1_024, gt=0)
    connects_per_5min: int = Field(default=300, gt=0)


class RestRules(_Part):
    """Binance's request limits; `ban_after` requests while limited turn 429 into 418 for `ban_s`."""

    weight_per_window: int = Field(default=6_000, gt=0)
    window_s: int = Field(default=60, gt=0)
    ban_after: int = Field(default=10, gt=0)
    ban_s: int = Field(default=120, gt=0)


class ExchangeConfig(_Part):
    """The whole configuration file."""

    market: MarketConfig = MarketConfig()
    capture: Capture | None = None
    playback: Playback = Playback()
    websocket: WebSocketRules = WebSocketRules()
    rest: RestRules = RestRules()
    faults: tuple[AnyFault, ...] = ()

    @model_validator(mode="after")
    def _capture_as_it_came(self) -> ExchangeConfig:
        if self.capture is not None and self.playback.live_times:
            raise ValueError("Expected live_times only with the synthetic market: a capture is played as it came")
        return self

    @cached_property
    def full_market(self) -> MarketConfig:
        """Return the market with the market-level faults of the script in it."""
        return folded_into(self.market, self.faults)


def load_config(path: Path | None) -> ExchangeConfig:
    """Load a YAML file; None gives the defaults.

    Raises:
        ConfigurationError: The file is not there, is no YAML mapping, or holds a key or value that is not known.
    """
    if path is None:
        return ExchangeConfig()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        config = ExchangeConfig.model_validate(document)
        _ = config.full_market
    except (OSError, yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The exchange configuration {path} does not load: {error}",
            safe="Nothing was started.",
            next_command="python -m stack.exchange --help",
        ) from error
    return config
