"""The page's own arithmetic and its reader of the stream, compared with Python, in the browser."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import pytest

from tests.integration.page.browser import OpenPage
from tests.integration.page.recorded_api import RecordedApi

EXAMPLES = 400


@pytest.fixture
def module_page(page: OpenPage, api: RecordedApi) -> OpenPage:
    return page.open()


def decimals(count: int) -> list[str]:
    """Texts of any length and scale, such as PostgreSQL's `numeric` gives them."""
    chance = random.Random(20240808)
    special = ["0", "-0", "0.00", "-0.5", "0.5", "1.5", "-1.5", "0.00000001", "9" * 20 + ".99999999", "2.675", "-2.675"]

    def one() -> str:
        whole = str(chance.randrange(10 ** chance.randint(1, 20)))
        fraction = "".join(chance.choices("0123456789", k=chance.randint(0, 16)))
        return f"{chance.choice(['', '', '-'])}{whole}{'.' if fraction else ''}{fraction}"

    return special + [one() for _ in range(count)]


def test_rounding_is_that_of_python(module_page: OpenPage) -> None:
    texts = decimals(EXAMPLES)
    found = module_page.call("decimal.js", "a[0].map((t) => [0, 2, 8].map((n) => m.rounded(t, n)))", texts)
    with localcontext(prec=80):
        expected = [
            [Decimal(text).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP) for places in (0, 2, 8)]
            for text in texts
        ]
    assert [[Decimal(one) for one in row] for row in found] == expected


def test_order_is_that_of_python(module_page: OpenPage) -> None:
    left, right = decimals(EXAMPLES), decimals(EXAMPLES)[::-1]
    found = module_page.call("decimal.js", "a[0].map((t, i) => [m.compare(t, a[1][i]), m.compare(t, t)])", left, right)
    assert found == [[int(Decimal(a).compare(Decimal(b))), 0] for a, b in zip(left, right, strict=True)]


def test_no_digit_is_lost_when_zeros_are_dropped(module_page: OpenPage) -> None:
    texts = decimals(EXAMPLES)
    found = module_page.call("decimal.js", "a[0].map((t) => m.exact(t))", texts)
    assert [Decimal(one) for one in found] == [Decimal(text) for text in texts]
    assert not [one for one in found if "." in one and one.endswith("0")]


def test_what_is_no_decimal_is_refused(module_page: OpenPage) -> None:
    expression = "a[0].map((t) => { try { m.parse(t); return 'taken'; } catch (e) { return e.name; } })"
    found = module_page.call("decimal.js", expression, ["", "1e5", "NaN", "1.", ".5", "1,5", "0x10", " 1"])
    assert found == ["RangeError"] * 8


def test_short_forms_of_amounts(module_page: OpenPage) -> None:
    amounts = ["0.12345678", "999.994", "999.995", "1000", "1234567.8", "-1234567.8", "1234567890.5", "5" * 13]
    found = module_page.call("decimal.js", "a[0].map((t) => m.compact(t))", amounts)
    assert found == ["0.12", "999.99", "1000.00", "1.00 k", "1.23 M", "-1.23 M", "1.23 G", "5.56 T"]


@pytest.mark.parametrize("market", ["spot", "coinm"])
def test_averages_are_those_of_exact_fractions(module_page: OpenPage, market: str) -> None:
    bars, chance = [], random.Random(3)
    for minute in sorted(chance.sample(range(200), 120)):
        row = {"time": minute * 60, "vwap": f"{chance.randrange(10**14)}.{chance.randrange(10**16):016d}"}
        volume, quote_volume = (
            f"{chance.randrange(10**9)}.{chance.randrange(10**8):08d}",
            f"{chance.randrange(10**12)}.5",
        )
        bars.append({**row, "volume": volume, "quote_volume": quote_volume})
    bars[17]["vwap"] = None  # a candle without a volume
    options = {"market": market, "seconds": 60, "decimals": 8}
    found = module_page.call("averages.js", "a[0].map((_, i) => m.averageAt(a[0], i, 5, a[1]))", bars, options)
    assert found == [expected_average(bars, index, market) for index in range(len(bars))]


def expected_average(bars: list[dict[str, Any]], index: int, market: str) -> str | None:
    newest = bars[index]["time"]
    taken = [bar for bar in bars if newest - 240 <= bar["time"] <= newest and bar["vwap"] is not None]
    with localcontext(prec=120):
        weights = [Decimal(bar["quote_volume" if market == "coinm" else "volume"]) for bar in taken]
        if not sum(weights):
            return None
        total = sum((Decimal(bar["vwap"]) * weight for bar, weight in zip(taken, weights, strict=True)), Decimal(0))
        return str((total / sum(weights)).quantize(Decimal("1e-8"), ROUND_HALF_UP))


STREAM = (
    ': a comment\n\nid: 1-0\nevent: trade\ndata: {"price":\n'
    'data:  "1"}\n\nevent: ping\n\nid: 2-0\r\ndata: 币安人生\r\n\r\n'
    "data: x\rid: 3-0\revent: y\r\rid\ndata\n\nid: 9-0\ndata: never ended\n"
)
EVENTS = [
    {"name": "trade", "data": '{"price":\n "1"}', "id": "1-0"},
    {"name": "message", "data": "币安人生", "id": "2-0"},
    {"name": "y", "data": "x", "id": "3-0"},
    {"name": "message", "data": "", "id": ""},
]


def test_events_are_read_wherever_the_stream_is_cut(module_page: OpenPage) -> None:
    chance = random.Random(11)
    cuts = [sorted(chance.sample(range(1, len(STREAM)), chance.randint(0, 12))) for _ in range(200)]
    cuts += [[place] for place in range(1, len(STREAM))]
    pieces = [[STREAM[a:b] for a, b in zip([0, *cut], [*cut, len(STREAM)], strict=True)] for cut in cuts]
    expression = (
        "a[0].map((pieces) => { const out = []; const parse = m.eventParser((e) => out.push(e));"
        "pieces.forEach(parse); return out; })"
    )
    found = module_page.call("stream.js", expression, pieces)
    assert [one for one in found if one != EVENTS] == []


def test_bars_do_not_depend_on_repeats_and_late_trades(module_page: OpenPage) -> None:
    chance = random.Random(5)
    prices = [f"{chance.randrange(50_000, 70_000)}.{chance.randrange(100):02d}" for _ in range(60)]
    trades = [
        {
            "price": price,
            "trade_time": f"2024-08-08T12:00:{at % 60:02d}Z",
            "event_id": f"binance:spot:BTCUSDT:aggTrade:{at}",
        }
        for at, price in enumerate(prices)
    ]
    orders = []
    for _ in range(50):
        order = trades * 2
        chance.shuffle(order)
        orders.append([trades[0], *order])
    expression = (
        "a[0].map((trades) => { const bars = new m.Bars(60); trades.forEach((t) => bars.applyTrade(t));"
        "return bars.list.map(({time, open, high, low, close}) => ({time, open, high, low, close})); })"
    )
    by_price = sorted(prices, key=Decimal)
    expected = {"time": 1_723_118_400, "open": prices[0], "high": by_price[-1], "low": by_price[0], "close": prices[-1]}
    found = module_page.call("bars.js", expression, orders)
    assert [one for one in found if one != [expected]] == []
