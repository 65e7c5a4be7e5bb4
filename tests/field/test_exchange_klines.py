"""Days of the lake compared with the exchange's own daily klines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.days import midnight
from common.errors import ConfigurationError
from common.settings import Settings
from tests.field.audited_days import DAY, LONG_AFTER, broken_laws, lake_of, microseconds, warnings_of, whole_day
from tickhouse.checks.audit.exchange_klines import Budget, ExchangeKlines, addresses, exchange_days
from tickhouse.checks.audit.lake_views import DayInputs, ExchangeDay
from tickhouse.checks.audit.outcomes import LawOutcome


def kline(day: date, trades: int, volume: str, quote: str) -> list[Any]:
    at = microseconds(day) // 1000
    return [at, "1", "2", "1", "2", volume, at + 86_399_999, quote, trades, "1", "1", "0"]


class FakeKlines:
    """Responds to /klines.

    Args:
        answers: Bodies, responses or exceptions, one per request; the last one stays.

    Attributes:
        requests: Path and query of each request.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, dict[str, str]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((request.url.path, dict(request.url.params)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


ADDRESSES = dict.fromkeys(("spot", "usdm", "coinm"), "http://exchange.test/")


def ask(exchange: FakeKlines, wanted: Sequence[tuple[str, str, date]], now: datetime = LONG_AFTER) -> list[ExchangeDay]:
    with httpx.Client(transport=httpx.MockTransport(exchange)) as http:
        return list(ExchangeKlines(http, ADDRESSES, Budget.load(), now).days(wanted))


def compare_with(tmp_path: Path, *days: ExchangeDay) -> list[LawOutcome]:
    return broken_laws(lake_of(tmp_path, whole_day()), tmp_path, inputs=DayInputs(lambda _: days, now=LONG_AFTER))


def exchange_day(trades: int, volume: str, quote: str) -> ExchangeDay:
    return ExchangeDay("spot", "BTCUSDT", DAY, "compared", trades, Decimal(volume), Decimal(quote))


def test_an_equal_kline_breaks_no_law(tmp_path: Path) -> None:
    quote = sum((Decimal(one.price) for one in whole_day()), Decimal(0)).scaleb(-8)
    assert compare_with(tmp_path, exchange_day(1440, "1440", str(quote))) == []


def test_trades_that_only_the_exchange_has_are_a_warning(tmp_path: Path) -> None:
    broken = compare_with(tmp_path, exchange_day(1500, "2000", "87840000"))
    assert warnings_of(broken) == {"the number of trades is the exchange's", "the volume is the exchange's"}

    number_of_trades, _ = sorted(broken, key=lambda law: law.law)
    assert number_of_trades.examples == ("spot BTCUSDT 2024-08-08: 0.04",)


def test_a_day_that_was_not_asked_for_is_a_note_and_no_warning(tmp_path: Path) -> None:
    broken = compare_with(tmp_path)
    (note,) = broken

    assert note.suite == "exchange_days"
    assert note.severity == "info"
    assert "not compared: nobody asked" in note.examples[0]


@pytest.mark.parametrize(
    ("market", "path"), [("spot", "/api/v3/klines"), ("usdm", "/fapi/v1/klines"), ("coinm", "/dapi/v1/klines")]
)
def test_each_market_has_its_path(market: str, path: str) -> None:
    exchange = FakeKlines([kline(DAY, 7, "19831", "480954.52504215")])
    (day,) = ask(exchange, [(market, "ADAUSD_PERP", DAY)])

    assert day.comparison == "compared"
    assert day.trades == 7
    assert day.volume == 19831
    assert day.quote_volume == Decimal("480954.52504215")

    ((requested, query),) = exchange.requests
    assert requested == path
    assert query["interval"] == "1d"
    assert query["startTime"] == str(microseconds(DAY) // 1000)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(200, text="<html>maintenance</html>"), "the answer is not a kline"),
        (httpx.Response(202), "the exchange answered 202"),
        ({"code": 0}, "the answer is not a kline"),
        ([], "the exchange has no kline of this day"),
        ([[]], "the answer is not a kline"),
        ([kline(DAY + timedelta(days=9), 1, "1", "1")], "the exchange has no kline of this day"),
        ([kline(DAY, 1, "many", "1")], "the answer is not a kline"),
        (httpx.Response(451), "the exchange answered 451"),
        (httpx.Response(400, json={"code": -1121, "msg": "Invalid symbol."}), "the exchange answered 400"),
    ],
)
def test_any_other_answer_says_not_compared(answer: Any, reason: str) -> None:
    (day,) = ask(FakeKlines(answer), [("spot", "BTCUSDT", DAY)])
    assert day.comparison == f"not compared: {reason}"
    assert day.trades is None


def test_one_bad_symbol_stops_no_other() -> None:
    exchange = FakeKlines(httpx.Response(400, json={"code": -1121}), [kline(DAY, 7, "1", "1")])
    found = ask(exchange, [("spot", "BADUSDT", DAY), ("spot", "BTCUSDT", DAY)])
    assert [one.comparison == "compared" for one in found] == [False, True]


def test_an_unreachable_exchange_is_asked_twice_and_no_more() -> None:
    exchange = FakeKlines(httpx.ConnectError("no route"))
    found = ask(exchange, [("spot", f"S{n}USDT", DAY) for n in range(20)])

    assert len(exchange.requests) == Budget.load().most_failures == 2
    assert all(one.comparison.startswith("not compared: ") for one in found)
    assert "cannot be reached" in found[-1].comparison


@pytest.mark.parametrize("status", [418, 429])
def test_a_rate_limit_ends_the_requests(status: int) -> None:
    exchange = FakeKlines(httpx.Response(status))
    ask(exchange, [("spot", f"S{n}USDT", DAY) for n in range(20)])
    assert len(exchange.requests) == 1


def test_there_are_no_more_requests_than_the_budget_allows() -> None:
    budget = Budget.load()
    exchange = FakeKlines([kline(DAY, 7, "1", "1")])
    found = ask(exchange, [("spot", f"S{n}USDT", DAY) for n in range(budget.most_requests + 5)])

    assert len(exchange.requests) == budget.most_requests
    assert "budget is used up" in found[-1].comparison


def test_a_day_that_is_not_over_is_not_asked_for() -> None:
    exchange = FakeKlines([])
    (day,) = ask(exchange, [("spot", "BTCUSDT", DAY)], midnight(DAY) + timedelta(hours=5))

    assert day.comparison == "not compared: the day is not over"
    assert exchange.requests == []


def test_addresses_are_per_market_or_one_for_all() -> None:
    markets = Budget.load().paths
    assert addresses("", markets) == {}
    assert addresses("http://a", markets) == dict.fromkeys(markets, "http://a")
    assert addresses("spot=http://a, usdm=http://b", markets) == {"spot": "http://a", "usdm": "http://b"}

    with pytest.raises(ConfigurationError, match="AUDIT_KLINES_URLS"):
        addresses("margin=http://a", markets)


def test_without_an_address_nothing_is_asked() -> None:
    (day,) = exchange_days(Settings(), [("spot", "BTCUSDT", DAY)])
    assert day.comparison == "not compared: AUDIT_KLINES_URLS is not set"
