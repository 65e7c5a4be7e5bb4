"""What the exchange says about a market before a job starts: its symbols, and their last 24 hours.

Sources: `exchangeInfo`, `ticker/24hr` (one request for all symbols), and one page of `aggTrades` of
the busiest symbols, which shows how many single trades one aggregate trade joins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any, Final

import httpx
import msgspec

from common.errors import ExchangeUnavailable
from common.live_job import LiveRequest
from common.market_kind import HEADER, SIMULATED
from producer.exchange.rest import MAX_BODY_BYTES, PATHS, TIMEOUT_S
from producer.exchange.rest_responses import ExchangeInfo, NoAnswer, decode_body, decoded, retry_after_s

# A person waits for the answer, so that there is no long backoff as in the producer.
ATTEMPTS: Final = 2
# Symbols whose aggregate trades are looked at: they make most of the trades.
SAMPLED_SYMBOLS: Final = 5
# Statuses with which Binance refuses an address or a region as a whole.
_REFUSED: Final = {403: "a firewall refuses this address", 451: "Binance does not serve this region"}


class DayTicker(msgspec.Struct):
    """The part of a 24 h ticker that we use; `count` is the number of single trades."""

    symbol: str
    count: int
    quoteVolume: str = ""  # spot and USD-M
    volume: str = "0"  # contracts on COIN-M
    openTime: int = 0
    closeTime: int = 0

    @property
    def trades_per_s(self) -> float:
        """Return the mean rate of single trades."""
        span_ms = self.closeTime - self.openTime
        return self.count / (span_ms / 1000) if span_ms > 0 else 0.0


class _JoinedTrades(msgspec.Struct):
    f: int
    l: int  # noqa: E741  # the exchange's name


@dataclass(frozen=True)
class MarketData:
    """The symbols of a market, their tickers, and whether the market is synthetic."""

    info: ExchangeInfo
    tickers: Mapping[str, DayTicker]
    is_simulated: bool = False

    @cached_property
    def _contract_sizes(self) -> Mapping[str, int]:
        return self.info.contract_sizes()

    def volume(self, symbol: str) -> Decimal:
        """Return the volume of 24 hours in the quote asset; US dollars on COIN-M."""
        ticker = self.tickers.get(symbol)
        if ticker is None:
            return Decimal(0)
        try:
            size = self._contract_sizes.get(symbol)
            return Decimal(ticker.volume) * size if size else Decimal(ticker.quoteVolume or "0")
        except InvalidOperation:
            return Decimal(0)


def fetch(http: httpx.Client, request: LiveRequest) -> MarketData:
    """Ask the exchange for the symbols and the tickers of a market.

    Raises:
        ExchangeUnavailable: It does not answer, refuses us, or answers something else.
    """
    info, headers = _get(http, request, "exchangeInfo", {}, msgspec.json.Decoder(ExchangeInfo).decode)
    raws, _ = _get(http, request, "ticker/24hr", {}, msgspec.json.Decoder(list[msgspec.Raw]).decode)
    tickers = [ticker for raw in raws if (ticker := decoded(raw, DayTicker)) is not None]
    is_simulated = headers.get(HEADER) == SIMULATED
    return MarketData(info, {ticker.symbol: ticker for ticker in tickers}, is_simulated)


def fetch_trades_per_aggregate(
    http: httpx.Client, request: LiveRequest, data: MarketData, symbols: Sequence[str]
) -> float | None:
    """Return how many single trades one aggregate trade joins, of the busiest of some symbols.

    None when the exchange has no trades of them yet.

    Raises:
        ExchangeUnavailable: As `fetch`.
    """
    traded = [data.tickers[symbol] for symbol in symbols if symbol in data.tickers and data.tickers[symbol].count]
    busiest = sorted(traded, key=lambda ticker: -ticker.count)[:SAMPLED_SYMBOLS]
    pages = [
        _get(http, request, "aggTrades", {"symbol": ticker.symbol, "limit": "1000"}, _decode_page)[0]
        for ticker in busiest
    ]
    return joined(trade for page in pages for trade in page)


def joined(trades: Iterable[_JoinedTrades]) -> float | None:
    """Return the mean number of single trades per aggregate trade (pure)."""
    # f and l are -1 in aggregates without trades of their own, such as those of an insurance fund.
    sizes = [trade.l - trade.f + 1 for trade in trades if 0 <= trade.f <= trade.l]
    return sum(sizes) / len(sizes) if sizes else None


_decode_page = msgspec.json.Decoder(list[_JoinedTrades]).decode


def _get(http: httpx.Client, request: LiveRequest, path: str, query: Mapping[str, str], decode: Any) -> Any:
    """Return (decoded body, headers).

    Raises:
        ExchangeUnavailable: There is no such answer; the message says why and what to do.
    """
    url = f"{request.rest_url.rstrip('/')}{PATHS[request.market]}/{path}"
    problem = ""
    for _ in range(ATTEMPTS):
        try:
            response = http.get(url, params=dict(query), timeout=TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
            continue
        if response.status_code in (418, 429):
            wait_s = retry_after_s(response.headers.get("Retry-After"), 0.0)
            raise _unavailable(url, f"too many requests from this address; wait {wait_s:.0f} s", wait_s)
        if response.status_code != 200:
            why = _REFUSED.get(response.status_code, response.text[:120])
            raise _unavailable(url, f"HTTP {response.status_code}, {why}")
        try:
            return decode_body(response.content[:MAX_BODY_BYTES], decode), response.headers
        except NoAnswer as error:
            raise _unavailable(url, str(error)) from error
    raise _unavailable(url, problem)


def _unavailable(url: str, problem: str, wait_s: float = 0.0) -> ExchangeUnavailable:
    return ExchangeUnavailable(
        f"The exchange does not answer as it should at {url}: {problem}.",
        retry_after_s=wait_s,
        safe="Nothing was started or changed.",
        next_command=(
            "check network, proxy (HTTPS_PROXY) and address; without Binance, take the local exchange: "
            "tickhouse live start --exchange-url http://HOST:PORT (docs/how-to/run-live.md)"
        ),
    )
