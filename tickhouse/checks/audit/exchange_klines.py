"""Fetch the exchange's own daily klines, to compare our days with them.

The audit passes without them. `expectations/exchange.yaml` limits the requests. If anything goes
wrong, the result is a reason that begins with "not compared", so that the report never shows a
comparison that was not made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, DecimalException
from typing import Any

import httpx
import yaml

from common.days import ONE_DAY, midnight
from common.errors import ConfigurationError
from common.settings import Settings
from tickhouse.checks.audit.lake_views import EXPECTATIONS, ExchangeDay, Wanted

COMPARED = "compared"
# Elements of a kline: open time, volume, quote volume (base coin on COIN-M), number of trades.
_OPEN_TIME, _VOLUME, _QUOTE_VOLUME, _TRADES = 0, 5, 7, 8
_LIMITED = (403, 418, 429, 451)


@dataclass(frozen=True)
class Budget:
    """The limits of one audit's requests, from `exchange.yaml`; times in seconds."""

    paths: dict[str, str]
    most_requests: int
    request_timeout_s: float
    total_timeout_s: float
    most_failures: int

    @classmethod
    def load(cls) -> Budget:
        """Return the budget in the file."""
        return cls(**yaml.safe_load((EXPECTATIONS / "exchange.yaml").read_text()))


class NotCompared(Exception):
    """The day cannot be compared; the message says why."""


class ExchangeKlines:
    """Requests daily klines until the budget is used up.

    Args:
        http: The client.
        urls: Address of each market's REST API, without a path.
        budget: The limits.
        now: When the audit is made.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        http: httpx.Client,
        urls: Mapping[str, str],
        budget: Budget,
        now: datetime,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http, self._urls, self._budget, self._now, self._clock = http, urls, budget, now, clock
        self._until = clock() + budget.total_timeout_s
        self._requests = self._failures = 0
        self._stop_reason = ""

    def days(self, wanted: Wanted) -> Iterator[ExchangeDay]:
        """Yield each day as the exchange has it, or the reason why it is not compared."""
        for market, symbol, day in wanted:
            try:
                kline = self._kline(market, symbol, day)
                figures = int(kline[_TRADES]), Decimal(kline[_VOLUME]), Decimal(kline[_QUOTE_VOLUME])
                yield ExchangeDay(market, symbol, day, COMPARED, *figures)
            except NotCompared as reason:
                yield ExchangeDay(market, symbol, day, f"not compared: {reason}")
            except (ValueError, TypeError, IndexError, DecimalException):
                yield ExchangeDay(market, symbol, day, "not compared: the answer is not a kline")

    def _kline(self, market: str, symbol: str, day: date) -> list[Any]:
        self._check_budget(market, day)
        start_ms = int(midnight(day).timestamp()) * 1000
        query: dict[str, str | int] = {"symbol": symbol, "interval": "1d", "startTime": start_ms, "limit": 1}
        self._requests += 1
        try:
            url = self._urls[market].rstrip("/") + self._budget.paths[market]
            response = self._http.get(url, params=query, timeout=self._budget.request_timeout_s)
        except httpx.HTTPError as error:
            self._failures += 1
            if self._failures >= self._budget.most_failures:
                self._stop_reason = f"the exchange cannot be reached ({type(error).__name__})"
            raise NotCompared(f"the exchange did not answer ({type(error).__name__})") from error
        self._failures = 0
        return self._first_kline(response, start_ms)

    def _check_budget(self, market: str, day: date) -> None:
        if self._now < midnight(day + ONE_DAY):
            raise NotCompared("the day is not over")
        if market not in self._urls:
            raise NotCompared(f"AUDIT_KLINES_URLS has no address of market {market}")
        if not self._stop_reason and (self._requests >= self._budget.most_requests or self._clock() >= self._until):
            self._stop_reason = f"the audit's budget is used up after {self._requests} requests"
        if self._stop_reason:
            raise NotCompared(self._stop_reason)

    def _first_kline(self, response: httpx.Response, start_ms: int) -> list[Any]:
        if response.status_code in _LIMITED:
            self._stop_reason = f"the exchange answered {response.status_code}"
        if response.status_code != httpx.codes.OK:
            raise NotCompared(f"the exchange answered {response.status_code}")
        found = response.json()
        if not isinstance(found, list):
            raise ValueError
        # When the start is before a symbol's listing, Binance returns the symbol's first day.
        if not found or not isinstance(found[0], list) or found[0][_OPEN_TIME] not in (start_ms, start_ms * 1000):
            raise NotCompared("the exchange has no kline of this day")
        return list(found[0])


def addresses(text: str, markets: Iterable[str]) -> dict[str, str]:
    """Return the address of each market in `AUDIT_KLINES_URLS`.

    The setting has `<market>=<url>` separated by commas, or one URL for all markets.

    Raises:
        ConfigurationError: A market is unknown.
    """
    known = list(markets)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    pairs = [(market, url) if url else ("", market) for market, _, url in (part.partition("=") for part in parts)]
    if unknown := [market for market, _ in pairs if market and market not in known]:
        raise ConfigurationError(
            f"Expected AUDIT_KLINES_URLS with markets of {', '.join(known)}, was {', '.join(unknown)}.",
            next_command="tickhouse config show",
        )
    everywhere = {name: url for market, url in pairs if not market for name in known}
    return everywhere | {market: url for market, url in pairs if market}


def exchange_days(settings: Settings, wanted: Wanted, now: datetime | None = None) -> list[ExchangeDay]:
    """Return the exchange's day for each (market, symbol, day) that is wanted.

    Without `AUDIT_KLINES_URLS` no request is made. The local exchange would be a wrong default,
    because it plays a market of its own.

    Raises:
        ConfigurationError: `AUDIT_KLINES_URLS` names an unknown market.
    """
    budget = Budget.load()
    urls = addresses(settings.audit_klines_urls, budget.paths)
    if not urls:
        return [ExchangeDay(*one, "not compared: AUDIT_KLINES_URLS is not set") for one in wanted]
    with httpx.Client() as http:
        return list(ExchangeKlines(http, urls, budget, now or datetime.now(UTC)).days(wanted))
