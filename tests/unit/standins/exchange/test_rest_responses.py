from __future__ import annotations

import json
from typing import Any

import pytest

from standins.exchange import rest_responses
from standins.exchange.frame_source import SyntheticSource
from standins.exchange.rest_parameters import RestError, RestParameters
from standins.exchange.rest_responses import RestRequest
from standins.exchange.synthetic_market import MINUTE, SECOND, iterate
from tests.unit.standins.exchange.markets import SMALL, small

SOURCE = SyntheticSource(small())
HALF_US = SMALL.start_us + 150 * SECOND


def request(now_us: int = SMALL.end_us, is_micro: bool = False, **values: object) -> RestRequest:
    known = {spec.symbol for spec in SOURCE.specs(now_us)}
    return RestRequest(SOURCE, now_us, RestParameters({k: str(v) for k, v in values.items()}, known), is_micro, 6_000)


def rows(answer: str) -> list[Any]:
    found = json.loads(answer)
    assert isinstance(found, list)
    return found


def btc(until_us: int) -> list[dict[str, Any]]:
    """Return the trades of BTCUSDT directly from the market, as Binance's REST would."""
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
    while page := rows(rest_responses.agg_trades(request(HALF_US, symbol="BTCUSDT", fromId=from_id, limit=100))):
        assert len(page) <= 100
        found += page
        from_id = page[-1]["a"] + 1
    assert found == expected


def test_from_id_is_inclusive_and_one_before_the_first_starts_at_the_first() -> None:
    expected = btc(SMALL.end_us)
    ids = [t["a"] for t in expected]
    for from_id, index in ((ids[10], 10), (1, 0)):
        first = rows(rest_responses.agg_trades(request(symbol="BTCUSDT", fromId=from_id, limit=1)))
        assert first == [expected[index]]
    assert rows(rest_responses.agg_trades(request(symbol="BTCUSDT", fromId=ids[-1] + 1))) == []


def test_times_are_inclusive_and_follow_binances_order_of_rules() -> None:
    expected = btc(SMALL.end_us)
    start, end = expected[100]["T"], expected[900]["T"]
    inside = [t for t in expected if start <= t["T"] <= end]
    assert (
        rows(rest_responses.agg_trades(request(symbol="BTCUSDT", startTime=start, endTime=end, limit=1000))) == inside
    )
    assert rows(rest_responses.agg_trades(request(symbol="BTCUSDT", startTime=start, limit=5))) == inside[:5]
    assert rows(rest_responses.agg_trades(request(symbol="BTCUSDT", endTime=end, limit=5))) == inside[-5:]
    assert rows(rest_responses.agg_trades(request(symbol="BTCUSDT", limit=5))) == expected[-5:]
    assert rows(rest_responses.agg_trades(request(symbol="BTCUSDT", startTime=start * 1_000, limit=5))) == inside[:5]


def test_the_limit_is_500_by_default_and_1000_at_most() -> None:
    assert len(rows(rest_responses.agg_trades(request(symbol="BTCUSDT")))) == 500
    assert len(rows(rest_responses.agg_trades(request(symbol="BTCUSDT", limit=5_000)))) == 1_000


def test_microseconds_on_request() -> None:
    milli = rows(rest_responses.agg_trades(request(symbol="BTCUSDT", limit=3)))
    micro = rows(rest_responses.agg_trades(request(is_micro=True, symbol="BTCUSDT", limit=3)))
    assert [t["T"] * 1_000 for t in milli] == [t["T"] for t in micro]


def test_single_trades_add_up_to_the_aggregates() -> None:
    first, last = btc(SMALL.end_us)[0]["f"], btc(SMALL.end_us)[30]["l"]
    found = rows(rest_responses.recent_trades(request(symbol="BTCUSDT", fromId=first, limit=last - first + 1)))
    assert [t["id"] for t in found] == list(range(first, last + 1))


def test_klines_page_by_time_and_end_with_the_current_one() -> None:
    found = rows(rest_responses.klines(request(HALF_US, symbol="BTCUSDT", interval="1m")))
    assert [bar[0] for bar in found] == [(SMALL.start_us + n * MINUTE) // 1_000 for n in range(3)]
    assert found[0][6] == found[0][0] + 59_999
    assert len(found[0]) == 12
    second = rows(
        rest_responses.klines(request(HALF_US, symbol="BTCUSDT", interval="1m", startTime=found[1][0], limit=1))
    )
    assert second == [found[1]]
    micro = rows(rest_responses.klines(request(HALF_US, True, symbol="BTCUSDT", interval="1m")))
    assert micro[0][6] == found[0][0] * 1_000 + 59_999_999


def test_exchange_info_lists_a_new_symbol_only_from_its_listing() -> None:
    before = json.loads(rest_responses.exchange_info(request(SMALL.listed_us()["TICKUSDT"] - 1)))
    after = json.loads(rest_responses.exchange_info(request(SMALL.listed_us()["TICKUSDT"])))
    names = [[s["symbol"] for s in info["symbols"]] for info in (before, after)]
    assert "TICKUSDT" not in names[0]
    assert names[1] == [*names[0], "TICKUSDT"]
    limits = {limit["rateLimitType"]: limit["limit"] for limit in after["rateLimits"]}
    assert limits["REQUEST_WEIGHT"] == 6_000
    assert {(s["baseAsset"], s["quoteAsset"]) for s in after["symbols"]} >= {("BTC", "USDT"), ("ETH", "BTC")}


def test_prices_and_day_statistics_agree_with_the_last_trade() -> None:
    last = [t for t in btc(HALF_US) if t["p"] != "0"][-1]
    assert json.loads(rest_responses.ticker_price(request(HALF_US, symbol="BTCUSDT")))["price"] == last["p"]
    day = json.loads(rest_responses.ticker_24hr(request(HALF_US, symbol="BTCUSDT")))
    assert day["lastPrice"] == last["p"]
    assert len(rows(rest_responses.ticker_24hr(request(HALF_US)))) == 5
    book = json.loads(rest_responses.ticker_book(request(HALF_US, symbol="BTCUSDT")))
    assert last["p"] in (book["bidPrice"], book["askPrice"])


@pytest.mark.parametrize(
    ("answer", "values", "code"),
    [
        (rest_responses.agg_trades, {}, -1102),
        (rest_responses.agg_trades, {"symbol": "NOSUCH"}, -1121),
        (rest_responses.agg_trades, {"symbol": "BTC USDT"}, -1100),
        (rest_responses.agg_trades, {"symbol": "btcusdt"}, -1100),
        (rest_responses.agg_trades, {"symbol": "\u5e01\u5b89\u4eba\u751fUSDT"}, -1121),
        (rest_responses.agg_trades, {"symbol": "BTCUSDT", "limit": "ten"}, -1100),
        (rest_responses.agg_trades, {"symbol": "BTCUSDT", "limit": 0}, -1130),
        (rest_responses.agg_trades, {"symbol": "BTCUSDT", "fromId": 1, "startTime": 5}, -1128),
        (rest_responses.klines, {"symbol": "BTCUSDT"}, -1102),
        (rest_responses.klines, {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        (rest_responses.ticker_24hr, {"symbols": '["NOSUCH"]'}, -1121),
    ],
)
def test_wrong_requests_have_binances_codes(answer: Any, values: dict[str, object], code: int) -> None:
    with pytest.raises(RestError) as caught:
        answer(request(**values))
    assert caught.value.code == code


def test_usdm_responses_have_no_best_match_and_the_decimals_of_the_symbol() -> None:
    from standins.exchange.synthetic_market import SyntheticMarket

    source = SyntheticSource(SyntheticMarket.build(SMALL.model_copy(update={"market": "usdm"})))
    request = RestRequest(
        source, SMALL.end_us, RestParameters({"symbol": "BTCUSDT", "limit": "1"}, {"BTCUSDT"}), False, 2_400
    )
    (row,) = rows(rest_responses.agg_trades(request))
    assert "M" not in row
    assert len(row["p"].partition(".")[2]) == 2
