"""The part of Binance's REST API that the producer needs, within its rate limits.

Protocol: binance-spot-api-docs `rest-api.md`. The limits come from exchangeInfo and from the
headers of the responses. After 429 or 418, all callers of the client wait for the time in
`Retry-After`. A request without an answer is repeated with backoff; after the last attempt,
`ExchangeUnavailable` is raised.
The meaning of a response is in `rest_responses.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx
import msgspec

from common.errors import ConfigurationError, ExchangeUnavailable
from producer.exchange.rest_responses import (
    ExchangeInfo,
    ExchangeRefused,
    NoAnswer,
    RestFailures,
    Row,
    ServerTime,
    Ticker,
    agg_trade_rows,
    decode_body,
    decoded,
    failure_of,
    trade_rows,
)

PATHS: Final = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
# Request weights of rest-api.md and of the futures documentation. They decide whether the next
# request may be sent. The responses hold the weight used in this minute.
_FUTURES: Final = {
    "aggTrades": 20, "historicalTrades": 20, "trades": 5, "exchangeInfo": 1, "ticker/24hr": 40, "time": 1,
}  # fmt: skip
WEIGHTS: Final = {
    "spot": {
        "aggTrades": 4, "historicalTrades": 25, "trades": 25, "exchangeInfo": 20, "ticker/24hr": 80, "time": 1,
    },
    "usdm": _FUTURES,
    "coinm": _FUTURES,
}  # fmt: skip
# The exchange may take 10 s for a request, so wait longer than that for the next byte.
TIMEOUT_S: Final = 15.0
# For the whole response: a server that sends single bytes slowly must not block a worker forever.
WHOLE_TIMEOUT_S: Final = 60.0
# exchangeInfo of the spot market is the largest response, about 20 MB; 1,000 trades are 0.2 MB.
MAX_BODY_BYTES: Final = 64 << 20
# Share of the limit that we use: other programs at the same IP address need the rest.
SHARE: Final = 0.8
# Share of the limit that gap filling may use: comparisons, new symbols and the clock must not wait
# for it.
SHARE_OF_FILLING: Final = 0.7
ATTEMPTS: Final = 6  # with full jitter up to 1, 2, 4, 8, 16 s: about 15 s on average before the caller decides
PAGE: Final = 1000  # the most that aggTrades and historicalTrades return
T = TypeVar("T")


def jittered(attempt: int, *, base_s: float = 1.0, cap_s: float = 60.0) -> float:
    """Return the pause in s before an attempt (from 0): exponential backoff, full jitter."""
    return random.uniform(0.0, min(cap_s, base_s * 2 ** min(attempt, 32)))  # noqa: S311  # spreads clients, hides nothing


class WeightBudget:
    """The request weight used in the current minute.

    Args:
        limit: Weight allowed per window.
        window_s: Length of a window; windows start at multiples of it, as on the server.
    """

    def __init__(self, limit: int, window_s: int = 60) -> None:
        self.limit, self._window_s = limit, window_s
        self._window, self._used, self._blocked_until = -1, 0, 0.0

    def _start_window(self, now_s: float) -> None:
        window = int(now_s // self._window_s)
        if window != self._window:
            self._window, self._used = window, 0

    def delay(self, weight: int, now_s: float, share: float = SHARE) -> float:
        """Return the seconds to wait before a request; at 0 it may be sent, and is counted."""
        if now_s < self._blocked_until:
            return self._blocked_until - now_s
        self._start_window(now_s)
        if self._used and self._used + weight > self.limit * share:
            return (self._window + 1) * self._window_s - now_s
        self._used += weight
        return 0.0

    def used(self, now_s: float) -> int:
        """Return the weight used in the current minute."""
        self._start_window(now_s)
        return self._used

    def observe(self, used: int, now_s: float) -> None:
        """Use the server's own count, which includes other programs."""
        self._start_window(now_s)
        self._used = max(self._used, used)

    def block(self, seconds: float, now_s: float) -> None:
        """Block every request for `seconds` from now."""
        self._blocked_until = max(self._blocked_until, now_s + seconds)


class RestClient:
    """A client of one market's REST API.

    Args:
        http: The HTTP client.
        base_url: Such as https://api.binance.com.
        market: spot, usdm or coinm.
        clock: Seconds since 1970.
        sleep: Waits for the given seconds.

    Raises:
        ConfigurationError: `base_url` is not an HTTP address.
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
        self._http, self._base, self._clock, self.sleep = http, _checked_base(base_url) + PATHS[market], clock, sleep
        self.weights = WEIGHTS[market]
        self.budget = WeightBudget(1200)  # the lowest limit of any market, until exchangeInfo is read
        self.failures = RestFailures()
        self.requests = self.weight = self.limited = 0
        self._failures_in_a_row = 0

    async def exchange_info(self) -> ExchangeInfo:
        """Return exchangeInfo, and use its request limit from now on.

        Raises:
            ExchangeUnavailable: No answer after `ATTEMPTS`.
            ExchangeRefused: The exchange refused the request.
        """
        info = await self._get("exchangeInfo", {}, msgspec.json.Decoder(ExchangeInfo).decode)
        self.budget.limit = info.weight_per_minute() or self.budget.limit
        return info

    async def trades(
        self, stream: str, symbol: str, from_id: int | None, limit: int = PAGE, *, share: float = SHARE_OF_FILLING
    ) -> list[Row]:
        """Return trades from an id on, oldest first.

        Args:
            stream: aggTrade or trade.
            symbol: The exchange's own.
            from_id: The first id; None returns the latest trades.
            limit: Number of trades.
            share: The request waits until at most this share of the minute's weight is used.

        Raises:
            ExchangeUnavailable: No answer after `ATTEMPTS`.
            ExchangeRefused: The exchange refused the request.
        """
        query: dict[str, str | int] = {"symbol": symbol, "limit": limit}
        if from_id is not None:
            query["fromId"] = from_id
        if stream == "aggTrade":
            return await self._get("aggTrades", query, agg_trade_rows, share)
        # Unlike historicalTrades, `trades` needs no API key on any market, but has only the latest
        # ones.
        return await self._get("trades" if from_id is None else "historicalTrades", query, trade_rows, share)

    async def first_since(self, symbol: str, start_us: int, end_us: int | None = None) -> list[Row]:
        """Return the oldest aggTrade from a time on, as a list of at most one.

        Raises:
            ExchangeUnavailable: No answer after `ATTEMPTS`.
            ExchangeRefused: The exchange refused the request.
        """
        query: dict[str, str | int] = {"symbol": symbol, "startTime": start_us // 1000, "limit": 1}
        if end_us is not None:
            query["endTime"] = end_us // 1000
        return await self._get("aggTrades", query, agg_trade_rows)

    async def last_trade_ids(self) -> dict[str, int]:
        """Return the id of the last single trade of every symbol, in one request (24 h tickers).

        Raises:
            ExchangeUnavailable: No answer after `ATTEMPTS`.
            ExchangeRefused: The exchange refused the request.
        """
        raws = await self._get("ticker/24hr", {}, msgspec.json.Decoder(list[msgspec.Raw]).decode)
        return {item.symbol: item.lastId for raw in raws if (item := decoded(raw, Ticker)) is not None}

    async def server_time_ms(self) -> int:
        """Return the exchange's clock in ms.

        Raises:
            ExchangeUnavailable: No answer after `ATTEMPTS`.
            ExchangeRefused: The exchange refused the request.
        """
        return (await self._get("time", {}, msgspec.json.Decoder(ServerTime).decode)).serverTime

    async def _get(
        self, path: str, query: dict[str, str | int], decode: Callable[[bytes], T], share: float = SHARE
    ) -> T:
        request = f"{path} {query.get('symbol', '')}".rstrip()
        for attempt in range(ATTEMPTS):
            while delay := self.budget.delay(self.weights[path], self._clock(), share):
                await self.sleep(delay)
            self.requests += 1
            self.weight += self.weights[path]
            try:
                answer = decode_body(await self._request(path, query), decode)
            except ExchangeRefused:
                self._note_answer(request)
                raise
            except NoAnswer as error:
                problem = error
                self.failures.failed(request, problem)
                await self._wait_to_retry(problem, attempt)
            else:
                self._note_answer(request)
                return answer
        raise ExchangeUnavailable(f"{self._base}/{path} did not answer after {ATTEMPTS} attempts: {problem}.")

    def _note_answer(self, request: str) -> None:
        self._failures_in_a_row = 0
        self.failures.answered(request)

    async def _wait_to_retry(self, problem: NoAnswer, attempt: int) -> None:
        self._failures_in_a_row += 1
        if problem.wait_s is not None:
            self.limited += 1
            self.budget.block(problem.wait_s, self._clock())
        elif attempt + 1 < ATTEMPTS:
            # While all requests fail, all callers slow down together, in the end to one request per
            # minute and caller.
            await self.sleep(jittered(max(attempt, self._failures_in_a_row // ATTEMPTS)))

    async def _request(self, path: str, query: dict[str, str | int]) -> bytes:
        """Return the body of a response with status 2xx.

        Raises:
            NoAnswer: There was no such response.
            ExchangeRefused: The exchange refused the request.
        """
        try:
            async with (
                asyncio.timeout(WHOLE_TIMEOUT_S),
                self._http.stream("GET", f"{self._base}/{path}", params=query, timeout=TIMEOUT_S) as response,
            ):
                body = await _read_body(response)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            raise NoAnswer(type(error).__name__, str(error)[:200]) from error
        self.budget.observe(_parse_weight(response.headers.get(USED_WEIGHT)), self._clock())
        if response.is_success:
            return body
        raise failure_of(response.status_code, response.headers, body, self._clock())


def _checked_base(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"The exchange's REST address {url!r} cannot be read: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 1) > 65_535:
        raise ConfigurationError(f"Expected an address such as https://api.binance.com, was {url!r}.")
    return url.rstrip("/")


async def _read_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise NoAnswer("body too large", f"more than {MAX_BODY_BYTES >> 20} MiB")
    return bytes(body)


def _parse_weight(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0
