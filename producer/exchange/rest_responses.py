"""What a response of Binance's REST API means: an answer, a refusal, or no answer.

- JSON of the expected shape is the answer.
- 4xx with one of Binance's codes for an invalid request (such as -1121) is `ExchangeRefused`:
  repeating it cannot help.
- Everything else is `NoAnswer`: HTML with status 200, an empty 202, an object instead of a list,
  403, 451, 5xx, a redirect, a body that is cut or too large. `RestFailures` logs each kind once.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
import structlog

from common.errors import TerminalError
from common.symbols import is_symbol
from producer.events import MAX_ID
from schemas.contracts import disagreement

log = structlog.get_logger(__name__)

# How long to wait after 429 or 418 without `Retry-After`: the weight is counted per minute.
LIMITED_S: Final = 60.0
# Binance's longest ban is three days; a longer `Retry-After` is cut to that.
LONGEST_BAN_S: Final = 3 * 86_400.0
# A failure that continues is logged again after this long.
LOG_AGAIN_S: Final = 600.0

# Invalid symbol, invalid pair, symbol closed: every id of that symbol is refused.
SYMBOL_CODES: Final = frozenset({-1121, -4141, -4144})
# Statuses that are not about the request itself, even if the body has one of Binance's codes.
_NOT_ABOUT_THE_REQUEST: Final = frozenset({401, 403, 407, 408, 418, 425, 429, 451})

Row: TypeAlias = tuple[int, bytes]  # id of a trade, and its JSON object as the exchange wrote it
T = TypeVar("T")


class ExchangeRefused(TerminalError):
    """The exchange will never answer this request; `code` is Binance's, such as -1121."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"The exchange refused a request: {code} {message}.")
        self.code = code

    @property
    def is_of_symbol(self) -> bool:
        """Return whether every request for the symbol is refused."""
        return self.code in SYMBOL_CODES


class NoAnswer(Exception):
    """One attempt brought no answer.

    Args:
        kind: Groups equal failures: `status 503`, the name of an exception,
            `not JSON of the expected shape`.
        detail: What was received, shortened.
        wait_s: Seconds for which the exchange wants all requests to wait; None for our own backoff.
    """

    def __init__(self, kind: str, detail: str, wait_s: float | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.wait_s = kind, wait_s


class RestFailures:
    """The requests that fail at the moment.

    Each kind of failure is logged once, and so is the end of all failures.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failing: dict[str, str] = {}  # kind of failure by request
        self._logged_at: dict[str, float] = {}
        self._since: float | None = None
        self.counts: Counter[str] = Counter()

    @property
    def down_s(self) -> float:
        """Return for how many seconds requests have been failing, 0 when none is."""
        return 0.0 if self._since is None else self._clock() - self._since

    def failed(self, asked: str, problem: NoAnswer) -> None:
        """Record an attempt without an answer."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        self._failing[asked] = problem.kind
        self.counts[problem.kind] += 1
        if now - self._logged_at.get(problem.kind, -math.inf) >= LOG_AGAIN_S:
            self._logged_at[problem.kind] = now
            log.warning("REST does not answer as it should; retrying with backoff", asked=asked,
                        problem=str(problem), failing_for_s=round(self.down_s, 1))  # fmt: skip

    def answered(self, asked: str) -> None:
        """Record an answer."""
        if self._failing.pop(asked, None) is not None and not self._failing:
            log.info("REST answers again", asked=asked, after_s=round(self.down_s, 1))
            self._since = None


class _Limit(msgspec.Struct):
    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


class _Symbol(msgspec.Struct):
    symbol: str
    status: str = ""
    contractStatus: str = ""  # the name on COIN-M
    quoteAsset: str = ""
    contractSize: int = 0  # US dollars per contract, only on COIN-M


class Ticker(msgspec.Struct):
    """The part of a 24 h ticker that we use; `lastId` is the id of the last single trade."""

    symbol: str
    lastId: int


class ServerTime(msgspec.Struct):
    """The exchange's clock in ms."""

    serverTime: int


class ExchangeInfo(msgspec.Struct):
    """The parts of exchangeInfo that we use. An entry that does not decode is skipped."""

    symbols: list[msgspec.Raw]
    rateLimits: list[msgspec.Raw] = []

    def trading(self, quote: str = "") -> list[str]:
        """Return the symbols that trade now and have our contract size.

        Args:
            quote: Only symbols of this quote asset; empty for all.
        """
        refused = self.wrong_sizes()
        items = [item for item in self._valid_symbols() if "TRADING" in (item.status, item.contractStatus)]
        return [item.symbol for item in items if item.symbol not in refused and quote in ("", item.quoteAsset)]

    def quotes(self) -> list[str]:
        """Return the quote assets, that of the most symbols first."""
        counts = Counter(item.quoteAsset for item in self._valid_symbols() if item.quoteAsset)
        return [quote for quote, _ in counts.most_common()]

    def contract_sizes(self) -> dict[str, int]:
        """Return the US dollars per contract by symbol; empty but on COIN-M."""
        return {item.symbol: item.contractSize for item in self._valid_symbols() if item.contractSize}

    def wrong_sizes(self) -> dict[str, str]:
        """Return the symbols whose contract size differs from ours, each with what to do."""
        sizes = {item.symbol: item.contractSize for item in self._valid_symbols() if item.contractSize}
        problems = {symbol: disagreement(symbol, size) for symbol, size in sizes.items()}
        return {symbol: problem for symbol, problem in problems.items() if problem}

    def _valid_symbols(self) -> list[_Symbol]:
        items = (decoded(raw, _Symbol) for raw in self.symbols)
        return [item for item in items if item is not None and is_symbol(item.symbol)]

    def weight_per_minute(self) -> int | None:
        """Return the request weight allowed per minute, None when exchangeInfo lacks it."""
        for item in (decoded(raw, _Limit) for raw in self.rateLimits):
            if item and (item.rateLimitType, item.interval) == ("REQUEST_WEIGHT", "MINUTE"):
                return max(0, item.limit // max(1, item.intervalNum)) or None
        return None


class _AggTradeId(msgspec.Struct):
    a: int


class _TradeId(msgspec.Struct):
    id: int


def decoded(raw: msgspec.Raw, kind: type[T]) -> T | None:
    """Return one entry of a list, None when it does not decode."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def decode_body(body: bytes, decode: Callable[[bytes], T]) -> T:
    """Decode the body of a response.

    Raises:
        NoAnswer: `decode` does not accept it.
    """
    try:
        body.decode()  # msgspec does not check the bytes of fields that it skips
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        shown = body[:120].decode(errors="replace")
        raise NoAnswer("not JSON of the expected shape", f"{error}; the body begins with {shown!r}") from error


def _rows(body: bytes, kind: type[Any], field: str) -> list[Row]:
    """Return the rows of a page, sorted by id; a row without an id makes the whole page invalid.

    Raises:
        ValueError, msgspec.DecodeError: It is not a page of trades.
    """
    decode = msgspec.json.Decoder(kind).decode
    rows = [(getattr(decode(raw), field), bytes(raw)) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
    if wrong := [number for number, _ in rows if not 0 <= number <= MAX_ID]:
        raise ValueError(f"Expected exchange ids, was {wrong[0]}")
    return sorted(rows)


def agg_trade_rows(body: bytes) -> list[Row]:
    """Return the rows of a page of aggTrades (see `_rows`)."""
    return _rows(body, _AggTradeId, "a")


def trade_rows(body: bytes) -> list[Row]:
    """Return the rows of a page of single trades (see `_rows`)."""
    return _rows(body, _TradeId, "id")


def failure_of(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> NoAnswer | ExchangeRefused:
    """Return the error for a response whose status is not 2xx."""
    refusal = None if status in _NOT_ABOUT_THE_REQUEST or status >= 500 else _refusal(body)
    if refusal is not None:
        return refusal
    text = body[:200].decode(errors="replace")
    if 300 <= status < 400:
        text = f"redirects to {headers.get('Location', '')[:200]!r}; is EXCHANGE_REST_URL right?"
    wait_s = retry_after_s(headers.get("Retry-After"), now_s) if status in (418, 429) else None
    return NoAnswer(f"status {status}", text, wait_s)


def _refusal(body: bytes) -> ExchangeRefused | None:
    """Return the refusal in a 4xx body.

    It is None when the code is about the server, the load or a missing API key.

    Binance's codes: -10xx server and network, -11xx the request, -2xxx keys and orders, -4xxx what
    futures refuse.
    """
    try:
        document = msgspec.json.decode(body)
        code, message = int(document["code"]), str(document["msg"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, TypeError, KeyError):
        return None
    return ExchangeRefused(code, message[:200]) if -1999 <= code <= -1100 or -4999 <= code <= -4000 else None


def retry_after_s(text: str | None, now_s: float) -> float:
    """Return the seconds of a `Retry-After` header: a number or an HTTP date.

    Without a valid header, return `LIMITED_S`.
    """
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = _seconds_until(text or "", now_s)
    if not math.isfinite(seconds):
        return LIMITED_S
    return min(max(seconds, 1.0), LONGEST_BAN_S)


def _seconds_until(date: str, now_s: float) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - now_s
    except (ValueError, TypeError, OverflowError, IndexError):
        return math.nan
