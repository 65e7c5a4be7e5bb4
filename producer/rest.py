"""Binance's REST API for what the producer needs, inside its limits.

Protocol: binance-spot-api-docs `rest-api.md`. Limits are read from exchangeInfo and the answers' headers; 429 and 418
are obeyed for as long as `Retry-After` says, by every caller of the client.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
import msgspec
import structlog

from tickhouse.errors import ExchangeUnavailable, TerminalError

log = structlog.get_logger(__name__)

PATHS: Final = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
# Weights of rest-api.md; what they add up to is told by the answers, these only pace the next request.
WEIGHTS: Final = {"aggTrades": 4, "historicalTrades": 25, "exchangeInfo": 20}
# A request can take 10 s on their side (shared protocol notes), so wait longer than that.
TIMEOUT_S: Final = 15.0
# Of the limit, which other programs behind the same address share.
SHARE: Final = 0.8
ATTEMPTS: Final = 6  # with full jitter up to 1, 2, 4, 8, 16 s: about 15 s on average before the caller decides
PAGE: Final = 1000  # the most aggTrades and historicalTrades give


class ExchangeRefused(TerminalError):
    """The exchange says that a request cannot be answered, now or later (`code` is Binance's, such as -1121)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"The exchange refused a request: {code} {message}.")
        self.code = code


def jittered(attempt: int, *, base_s: float = 1.0, cap_s: float = 60.0) -> float:
    """Return the pause before attempt number `attempt` (from 0): exponential backoff with full jitter."""
    return random.uniform(0.0, min(cap_s, base_s * 2**attempt))  # noqa: S311  # spreads clients, hides nothing


class WeightBudget:
    """How much of the minute's request weight is left; times in seconds of one clock whose minutes are the server's."""

    def __init__(self, limit: int, window_s: int = 60) -> None:
        self.limit, self._window_s = limit, window_s
        self._window, self._used, self._blocked_until = -1, 0, 0.0

    def _turn(self, now_s: float) -> None:
        window = int(now_s // self._window_s)
        if window != self._window:
            self._window, self._used = window, 0

    def delay(self, weight: int, now_s: float) -> float:
        """Return how long to wait before a request of `weight`, 0 when it may go; then it is counted."""
        if now_s < self._blocked_until:
            return self._blocked_until - now_s
        self._turn(now_s)
        if self._used and self._used + weight > self.limit * SHARE:
            return (self._window + 1) * self._window_s - now_s
        self._used += weight
        return 0.0

    def observe(self, used: int, now_s: float) -> None:
        """Take over the server's own count, which knows the other programs too."""
        self._turn(now_s)
        self._used = max(self._used, used)

    def block(self, seconds: float, now_s: float) -> None:
        """Let nothing go for a while."""
        self._blocked_until = max(self._blocked_until, now_s + seconds)


class _Limit(msgspec.Struct):
    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


class _Symbol(msgspec.Struct):
    symbol: str
    status: str = ""
    contractStatus: str = ""  # COIN-M calls it so


class ExchangeInfo(msgspec.Struct):
    """The parts of exchangeInfo that we use."""

    symbols: list[_Symbol]
    rateLimits: list[_Limit] = []

    def trading(self) -> list[str]:
        """Return the symbols that trade now."""
        return [item.symbol for item in self.symbols if "TRADING" in (item.status, item.contractStatus)]

    def weight_per_minute(self) -> int | None:
        """Return the request weight allowed a minute, None when it is not told."""
        for item in self.rateLimits:
            if item.rateLimitType == "REQUEST_WEIGHT" and item.interval == "MINUTE":
                return item.limit // item.intervalNum
        return None


class RestClient:
    """Asks one market's REST API.

    Args:
        http: The HTTP client.
        base_url: Such as https://api.binance.com.
        market: spot, usdm or coinm.
        clock: Seconds since 1970.
        sleep: How to wait.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        market: str,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http, self._base, self._clock, self._sleep = http, base_url.rstrip("/") + PATHS[market], clock, sleep
        self.budget = WeightBudget(1200)  # the least any market had, until exchangeInfo tells
        self.requests = 0
        self.limited = 0

    async def exchange_info(self) -> ExchangeInfo:
        """Return exchangeInfo and take over its request limit.

        Raises:
            ExchangeUnavailable: It did not answer after `ATTEMPTS`.
            ExchangeRefused: It answered that it will not.
        """
        info = msgspec.json.decode(await self._get("exchangeInfo", {}), type=ExchangeInfo)
        self.budget.limit = info.weight_per_minute() or self.budget.limit
        return info

    async def trades(self, stream: str, symbol: str, from_id: int | None, limit: int = PAGE) -> list[msgspec.Raw]:
        """Return trades from an id on (inclusive), oldest first, each as the exchange wrote it; never asked with times.

        Raises:
            ExchangeUnavailable: It did not answer after `ATTEMPTS`.
            ExchangeRefused: It answered that it will not.
        """
        path = "aggTrades" if stream == "aggTrade" else "historicalTrades"
        query: dict[str, str | int] = {"symbol": symbol, "limit": limit}
        if from_id is not None:
            query["fromId"] = from_id
        return msgspec.json.decode(await self._get(path, query), type=list[msgspec.Raw])

    async def first_since(self, symbol: str, start_us: int, end_us: int | None = None) -> list[msgspec.Raw]:
        """Return the oldest aggTrade from a time on, as a list of one or none.

        Raises:
            ExchangeUnavailable: It did not answer after `ATTEMPTS`.
            ExchangeRefused: It answered that it will not.
        """
        query: dict[str, str | int] = {"symbol": symbol, "startTime": start_us // 1000, "limit": 1}
        if end_us is not None:
            query["endTime"] = end_us // 1000
        return msgspec.json.decode(await self._get("aggTrades", query), type=list[msgspec.Raw])

    async def _get(self, path: str, query: dict[str, str | int]) -> bytes:
        problem = ""
        for attempt in range(ATTEMPTS):
            while delay := self.budget.delay(WEIGHTS[path], self._clock()):
                await self._sleep(delay)
            self.requests += 1
            try:
                answer = await self._http.get(f"{self._base}/{path}", params=query, timeout=TIMEOUT_S)
            except httpx.HTTPError as error:
                problem = repr(error)
                await self._sleep(jittered(attempt))
                continue
            self.budget.observe(_integer(answer.headers.get(USED_WEIGHT)), self._clock())
            if answer.is_success:
                return answer.content
            problem = f"{answer.status_code} {answer.text[:200]}"
            await self._refused(answer, attempt)
        raise ExchangeUnavailable(f"{self._base}/{path} did not answer after {ATTEMPTS} attempts: {problem}.")

    async def _refused(self, answer: httpx.Response, attempt: int) -> None:
        """Wait as the answer wants it, or raise when waiting cannot help."""
        if answer.status_code in (418, 429):
            wait_s = float(_integer(answer.headers.get("Retry-After")) or 60)
            self.limited += 1
            self.budget.block(wait_s, self._clock())
            log.warning("the exchange limits us", status=answer.status_code, retry_after_s=wait_s)
        elif answer.status_code >= 500 or answer.status_code == 403:
            await self._sleep(jittered(attempt))
        else:
            raise _refusal(answer)


def _refusal(answer: httpx.Response) -> ExchangeRefused:
    try:
        body: Any = answer.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    return ExchangeRefused(int(body.get("code", answer.status_code)), str(body.get("msg", answer.text[:200])))


def _integer(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
