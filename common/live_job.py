"""The live job of one market: what its producer takes, as `tickhouse live start` wrote it.

There is one file per market, `<home>/live/<market>.json`. While it is there, the job is wanted:
each `tickhouse up` of the core starts it, and `tickhouse live stop` removes it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import ConfigurationError
from common.symbols import check_given_symbol

Market = Literal["spot", "usdm", "coinm"]
MARKETS: Final[tuple[Market, ...]] = ("spot", "usdm", "coinm")
# Its seconds per tick, as the producer's own default.
SAMPLE_S: Final = 5

# Streams that a job can take. The first one has dense ids on every market, so its gaps are known.
TRADE_STREAMS: Final = ("aggTrade", "trade")
TICK_STREAMS: Final = ("ticker", "miniTicker", "bookTicker")
# Streams that the exchange has and that we refuse, each with the reason.
REFUSED_STREAMS: Final = {
    "depth": "order books are not stored yet: there is no topic, no table and no check for them",
    "forceOrder": "liquidations are not stored yet: they have no ids, so that nothing shows whether one is missing",
    "kline": (
        "klines are not taken as a stream; candles are computed from the trades, and the nightly audit compares "
        "them with the exchange's daily klines when AUDIT_KLINES_URLS is set"
    ),
}
_OTHER_NAMES: Final = {"liquidations": "forceOrder", "liquidation": "forceOrder", "orderbook": "depth"}


class _JobPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SymbolSelection(_JobPart):
    """Which symbols of a market: a list, the `top` ones of a quote asset by volume, or all.

    Args:
        symbols: The exchange's own names; empty for every symbol that trades.
        quote: Only symbols of this quote asset.
        top: Only so many, those with the largest volume of the last 24 hours.
    """

    symbols: tuple[str, ...] = ()
    quote: str = ""
    top: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_way(self) -> SymbolSelection:
        for symbol in self.symbols:
            check_given_symbol(symbol)
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError("a symbol is named twice")
        if self.symbols and (self.quote or self.top):
            raise ValueError("a list of symbols goes without `quote` and `top`")
        if self.top and not self.quote:
            raise ValueError("`top` needs `quote`: volumes in different quote assets cannot be compared")
        return self

    @property
    def in_words(self) -> str:
        """Return what was asked for, such as `top 50 of USDT`."""
        if self.symbols:
            return ", ".join(self.symbols) if len(self.symbols) <= 5 else f"{len(self.symbols)} named symbols"
        if self.top:
            return f"top {self.top} of {self.quote} by volume"
        return f"all of {self.quote}" if self.quote else "all"


class LiveRequest(_JobPart):
    """What a person asked for on one market.

    Args:
        streams: Stream names of Binance.
        sample_s: One tick per symbol and stream is kept in so many seconds; trades are never
            sampled (ADR 0041).
        is_rest_only: Take trades by REST alone, without a WebSocket.
        ws_url: Base address of the WebSocket.
        rest_url: Base address of the REST API.
    """

    market: Market
    selection: SymbolSelection = SymbolSelection()
    streams: tuple[str, ...] = ("aggTrade", "ticker")
    sample_s: int = Field(default=SAMPLE_S, gt=0)
    is_rest_only: bool = False
    ws_url: str
    rest_url: str

    @model_validator(mode="after")
    def _possible(self) -> LiveRequest:
        check_streams(self.streams)
        ticks = [name for name in self.streams if name in TICK_STREAMS]
        if self.is_rest_only and self.streams != ("aggTrade",):
            raise ValueError(
                f"REST alone brings aggTrade, and no {', '.join(ticks) or 'trade'}: trades by id need an API key "
                "on futures, and tickers come by the WebSocket"
            )
        return self


class LiveJob(_JobPart):
    """What a producer takes.

    Args:
        request: What was asked for.
        symbols: The symbols, or empty for all that trade (of the quote asset of the request).
            New listings are taken only then.
        chosen_at: When the symbols were chosen, ISO 8601 in UTC.
    """

    request: LiveRequest
    symbols: tuple[str, ...] = ()
    chosen_at: str


def check_streams(streams: tuple[str, ...]) -> None:
    """Refuse streams that we cannot take.

    Raises:
        ValueError: A stream is unknown, refused with a reason, or named twice; or there is none.
    """
    known = (*TRADE_STREAMS, *TICK_STREAMS)
    for name in streams:
        base = re.match("[A-Za-z]*", name)[0]  # type: ignore[index]  # it always matches; `depth20@100ms`
        refused = _OTHER_NAMES.get(base.lower(), base)
        if refused in REFUSED_STREAMS:
            raise ValueError(f"stream {name}: {REFUSED_STREAMS[refused]}")
        if name not in known:
            raise ValueError(f"there is no stream {name!r}; the streams are {', '.join(known)}")
    if not streams or len(set(streams)) != len(streams):
        raise ValueError("expected each stream once, and at least one")


def jobs_folder(home: Path) -> Path:
    """Return the folder of the jobs and of the locks of their producers."""
    return home / "live"


def job_file(home: Path, market: str) -> Path:
    """Return the path of a market's job."""
    return jobs_folder(home) / f"{market}.json"


def read_job(path: Path) -> LiveJob | None:
    """Return the job in a file; None when there is no file.

    Raises:
        ConfigurationError: The file does not hold a job.
    """
    try:
        return LiveJob.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} does not hold a live job: {error}",
            safe="Nothing was started.",
            next_command="tickhouse live stop, then tickhouse live start",
        ) from error


def write_job(home: Path, job: LiveJob) -> Path:
    """Write a market's job atomically, and return its path."""
    path = job_file(home, job.request.market)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(job.model_dump_json(indent=1) + "\n")
    temporary.replace(path)
    return path
