"""The configuration of the local exchange; unknown keys are refused."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import ConfigurationError
from standins.exchange.faults import AnyFault, with_market_faults
from standins.exchange.synthetic_market import MarketConfig
from standins.exchange.trade_columns import MarketName

# No machine plays faster than this, so a larger number must be a mistake.
MAX_SPEED = 1e6

DEMO = Path(__file__).with_name("demo.yaml")


class _ConfigPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Capture(_ConfigPart):
    """Recorded files of one market, played in this order instead of the synthetic market."""

    files: tuple[Path, ...] = Field(min_length=1)
    market: MarketName = "spot"
    symbol: str | None = None


def _check_speed(speed: float | Literal["max"]) -> float | Literal["max"]:
    if speed != "max" and not 0 <= speed < MAX_SPEED:
        raise ValueError(f"Expected a speed from 0 to {MAX_SPEED:g}, or max, was {speed}")
    return speed


Speed = Annotated[float | Literal["max"], AfterValidator(_check_speed)]


class PlaybackRules(_ConfigPart):
    """How event time passes.

    Args:
        speed: Seconds of event time per second of wall time; `max` is as fast as the clients read.
            `POST /tickhouse/pace` changes it while the market plays.
        start: What starts the event clock: the first `subscription`, the first request of a
            `client` for market data, the `control` plane, or the `boot` of the server.
        start_after_s: Wall seconds between that and the first event, so that several connections
            can subscribe.
        live_times: Move the market so that it starts now, and use the wall clock as the event time
            of every frame.
        slow_client: What happens when the buffer of a client is full: `stall` the market, or `cut`
            the connection as Binance does.
    """

    speed: Speed = 1.0
    start: Literal["subscription", "client", "control", "boot"] = "subscription"
    start_after_s: float = Field(default=0.0, ge=0)
    live_times: bool = False
    slow_client: Literal["stall", "cut"] = "stall"


class Pace(_ConfigPart):
    """The body of `POST /tickhouse/pace`: a speed as in `PlaybackRules`; 0 pauses the market."""

    speed: Speed


class WebSocketRules(_ConfigPart):
    """Binance's rules for a connection; a test may lower every number.

    Args:
        routed: Send a stream only on the address that serves it, as Binance's futures do since
            2026-04-23: aggTrade, tickers and klines on `/market`; trade and bookTicker on `/public`
            and on addresses without a route. Other streams can be subscribed, but send nothing.
    """

    routed: bool = False
    ping_interval_s: float = Field(default=20.0, gt=0)
    pong_timeout_s: float = Field(default=60.0, gt=0)
    lifetime_s: float = Field(default=86_400.0, gt=0)
    messages_per_s: int = Field(default=5, gt=0)
    max_streams: int = Field(default=1_024, gt=0)
    connects_per_5min: int = Field(default=300, gt=0)


class RestRules(_ConfigPart):
    """Binance's request limits.

    After `ban_after` refusals with 429, a ban with 418 lasts `ban_s`.
    """

    weight_per_window: int = Field(default=6_000, gt=0)
    window_s: int = Field(default=60, gt=0)
    ban_after: int = Field(default=10, gt=0)
    ban_s: int = Field(default=120, gt=0)


class ExchangeConfig(_ConfigPart):
    """The whole configuration file."""

    market: MarketConfig = MarketConfig()
    capture: Capture | None = None
    playback: PlaybackRules = PlaybackRules()
    websocket: WebSocketRules = WebSocketRules()
    rest: RestRules = RestRules()
    faults: tuple[AnyFault, ...] = ()

    @model_validator(mode="after")
    def _check_live_times(self) -> ExchangeConfig:
        if self.capture is not None and self.playback.live_times:
            raise ValueError("live_times works only with the synthetic market: a capture is played unchanged")
        return self

    @cached_property
    def full_market(self) -> MarketConfig:
        """Return the market including the market-level faults of the script."""
        return with_market_faults(self.market, self.faults)


def load_config(path: Path | None) -> ExchangeConfig:
    """Load a YAML file; None gives the defaults.

    Raises:
        ConfigurationError: The file is missing, is no YAML mapping, or has an unknown key or a
            wrong value.
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
            next_command="python -m standins.exchange --help",
        ) from error
    return config
