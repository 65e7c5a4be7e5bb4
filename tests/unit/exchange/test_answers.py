from __future__ import annotations

import json
from typing import Any

import pytest

from stack.exchange import answers
from stack.exchange.answers import Ask
from stack.exchange.market import MINUTE, SECOND, iterate
from stack.exchange.query import Query, RestError
from stack.exchange.tape import SyntheticTape
from tests.unit.exchange.markets import SMALL, small

TAPE = SyntheticTape(small())
HALF_US = SMALL.start_us + 150 * SECOND


def ask(now_us: int = SMALL.end_us, is_micro: bool = False, **values: object) -> Ask:
    known = {spec.symbol for spec in TAPE.specs(now_us)}
    return Ask(TAPE, now_us, Query({k: str(v) for k, v in values.items()}, known), is_micro, 6_000)


def rows(answer: str) -> list[Any]:
    found = json.loads(answer)
    assert isinstance(found, list)
    return found


def btc(until_us: int) -> list[dict[str, Any]]:
    """Return what Binance would have for BTCUSDT, straight from the market."""
    return [
        {
            "a": t.agg_id, "p": t.price, "q": t.qty, "f": t.first_id, "l": t.last_id,
            "T": t.time_us // 1_000, "m": t.is_buyer_maker, "M": True,
        }
        for t in iterate(small(), until_us)
        if t.symbol == "BTCUSDT"
    ]  # fmt: skip


def test_paging_by_id_gives_every_played_trade_once() -> None:
    expected, found, from_id = btc(HALF_US), [], 0
    while page := rows(answers.agg_trades(ask(HALF_US, symbol="BTCUSDT", fromId=from_id, limit=100))):
        assert len(page) <= 100
        found += page
        from_id = page[-1]["a"] + 1
    assert found == expected


def test_from_id_is_inclusive_and_one_before_the_first_starts_at_the_first() -> None:
    expected = btc(SMALL.end_us)
    ids = [t["a"] for t in expected]
    for from_id, index in ((ids[10], 10), (1, 0)):
        first = rows(answers.agg_trades(ask(symbol="BTCUSDT", fromId=from_id, limit=1)))
        assert first == [expected[index]]
    assert rows(answers.agg_trades(ask(symbol="BTCUSDT", fromId=ids[-1] + 1))) == []


def test_times_are_inclusive_and_follow_binances_order_of_rules() -> None:
    expected = btc(SMALL.end_us)
    start, end = expected[100]["T"], expected[900]["T"]
    inside = [t for t in expected if start <= t["T"] <= end]
    assert rows(answers.agg_trades(ask(symbol="BTCUSDT", startTime=start, endTime=end, limit=1000))) == inside
    assert rows(answers.agg_trades(ask(symbol="BTCUSDT", startTime=start, limit=5))) == inside[:5]
    assert rows(answers.agg_trades(ask(symbol="BTCUSDT", endTime=end, limit=5))) == inside[-5:]
    assert rows(answers.agg_trades(ask(symbol="BTCUSDT", limit=5))) == expected[-5:]
    assert rows(answers.agg_trades(ask(symbol="BTCUSDT", startTime=start * 1_000, limit=5))) == inside[:5]


def test_the_limit_is_500_unless_told_and_1000_at_most() -> None:
    assert len(rows(answers.agg_trades(ask(symbol="BTCUSDT")))) == 500
    assert len(rows(answers.agg_trades(ask(symbol="BTCUSDT", limit=5_000)))) == 1_000


def test_microseconds_on_request() -> None:
    milli = rows(answers.agg_trades(ask(symbol="BTCUSDT", limit=3)))
    micro = rows(answers.agg_trades(ask(is_micro=True, symbol="BTCUSDT", limit=3)))
    assert [t["T"] * 1_000 for t in milli] == [t["T"] for t in micro]


def test_single_trades_add_up_to_the_aggregates() -> None:
    first, last = btc(SMALL.end_us)[0]["f"], btc(SMALL.end_us)[30]["l"]
    found = rows(answers.recent_trades(ask(symbol="BTCUSDT", fromId=first, limit=last - first + 1)))
    assert [t["id"] for t in found] == list(range(first, last + 1))


def test_klines_page_by_time_and_end_with_the_running_bar() -> None:
    found = rows(answers.klines(ask(HALF_US, symbol="BTCUSDT", interval="1m")))
    assert [bar[0] for bar in found] == [(SMALL.start_us + n * MINUTE) // 1_000 for n in range(3)]
    assert found[0][6] == found[0][0] + 59_999
    assert len(found[0]) == 12
    second = rows(answers.klines(ask(HALF_US, symbol="BTCUSDT", interval="1m", startTime=found[1][0], limit=1)))
    assert second == [found[1]]
    micro = rows(answers.klines(ask(HALF_US, True, symbol="BTCUSDT", interval="1m")))
    assert micro[0][6] == found[0][0] * 1_000 + 59_999_999


def test_exchange_info_lists_a_new_symbol_only_from_its_listing() -> None:
    before = json.loads(answers.exchange_info(ask(SMALL.listed_us()["TICKUSDT"] - 1)))
    after = json.loads(answers.exchange_info(ask(SMALL.listed_us()["TICKUSDT"])))
    names = [[s["symbol"] for s in info["symbols"]] for info in (before, after)]
    assert "TICKUSDT" not in names[0]
    assert names[1] == [*names[0], "TICKUSDT"]
    limits = {limit["rateLimitType"]: limit["limit"] for limit in after["rateLimits"]}
    assert limits["REQUEST_WEIGHT"] == 6_000
    assert {(s["baseAsset"], s["quoteAsset"]) for s in after["symbols"]} >= {("BTC", "USDT"), ("ETH", "BTC")}


def test_prices_and_day_statistics_agree_with_the_last_trade() -> None:
    last = [t for t in btc(HALF_US) if t["p"] != "0"][-1]
    assert json.loads(answers.ticker_price(ask(HALF_US, symbol="BTCUSDT")))["price"] == last["p"]
    day = json.loads(answers.ticker_24hr(ask(HALF_US, symbol="BTCUSDT")))
    assert day["lastPrice"] == last["p"]
    assert len(rows(answers.ticker_24hr(ask(HALF_US)))) == 5
    book = json.loads(answers.ticker_book(ask(HALF_US, symbol="BTCUSDT")))
    assert last["p"] in (book["bidPrice"], book["askPrice"])


@pytest.mark.parametrize(
    ("answer", "values", "code"),
    [
        (answers.agg_trades, {}, -1102),
        (answers.agg_trades, {"symbol": "NOSUCH"}, -1121),
        (answers.agg_trades, {"symbol": "BTC USDT"}, -1100),
        (answers.agg_trades, {"symbol": "BTCUSDT", "limit": "ten"}, -1100),
        (answers.agg_trades, {"symbol": "BTCUSDT", "limit": 0}, -1130),
        (answers.agg_trades, {"symbol": "BTCUSDT", "fromId": 1, "startTime": 5}, -1128),
        (answers.klines, {"symbol": "BTCUSDT"}, -1102),
        (answers.klines, {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        (answers.ticker_24hr, {"symbols": '["NOSUCH"]'}, -1121),
    ],
)
def test_wrong_requests_have_binances_codes(answer: Any, values: dict[str, object], code: int) -> None:
    with pytest.raises(RestError) as caught:
        answer(ask(**values))
    assert caught.value.code == code


def test_usdm_answers_have_no_best_match_and_print_the_symbols_decimals() -> None:
    from stack.exchange.market import Market

    tape = SyntheticTape(Market.build(SMALL.model_copy(update={"market": "usdm"})))
    request = Ask(tape, SMALL.end_us, Query({"symbol": "BTCUSDT", "limit": "1"}, {"BTCUSDT"}), False, 2_400)
    (row,) = rows(answers.agg_trades(request))
    assert "M" not in row
    assert len(row["p"].partition(".")[2]) == 2
