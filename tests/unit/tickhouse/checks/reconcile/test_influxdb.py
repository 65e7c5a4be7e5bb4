"""Read points of InfluxDB without the server: exact, and nothing half read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.checks.reconcile.documents import Unreadable
from tickhouse.checks.reconcile.influxdb import fault_of, read_chunk, rows, trade_of
from tickhouse.checks.reconcile.model import CheckedTrade

TRADE = trade(5_001)


def point(one: CheckedTrade = TRADE, **changes: Any) -> dict[str, Any]:
    """Return the columns of a trade's point, as the server returns them."""
    return {
        "time": one.time_us * 1000 + one.trade_id % 1000, "clash": None, "exchange": "BINANCE",
        "market": one.key.market, "symbol": one.key.symbol, "stream": one.key.stream, "side": one.side,
        "trade_id": one.trade_id, "first_trade_id": one.first_id, "last_trade_id": one.last_id,
        "price_e8": one.price, "qty_e8": one.qty,
        "price": one.price / 10**8, "qty": one.qty / 10**8, "quote_qty": one.price * one.qty / 10**16,
    } | changes  # fmt: skip


def test_a_point_is_its_trade() -> None:
    assert trade_of(point()) == TRADE
    assert fault_of(point(), TRADE) == ""


def test_a_price_beyond_64_bits_is_read_from_its_text() -> None:
    big = TRADE._replace(price=10**27 + 1)
    text = point(big, price_e8=None, price_text="10000000000000000000.00000001")

    assert trade_of(text) == big
    assert fault_of(text, big) == ""


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"exchange": "OTHER"}, "exchange"),
        ({"time": START_US * 1000}, "nanoseconds"),
        ({"price": 61685.98}, "price: not derived"),
        ({"quote_qty": None}, "quote_qty: not derived"),
    ],
)
def test_what_is_derived_from_the_trade_is_checked(changes: dict[str, Any], fault: str) -> None:
    assert fault in fault_of(point(**changes), TRADE)


def test_a_sentinel_has_no_floats() -> None:
    void = TRADE._replace(price=0)

    assert fault_of(point(void, price=None, qty=None, quote_qty=None), void) == ""
    assert "price" in fault_of(point(void), void)


@pytest.mark.parametrize("changes", [{"trade_id": 1.5}, {"price_e8": None}, {"price_e8": None, "price_text": "1e9x"}])
def test_a_point_that_is_no_trade_is_named(changes: dict[str, Any]) -> None:
    bad = list[Unreadable]()

    assert list(rows(iter([point(**changes), point()]), bad)) != []
    assert len(bad) == 1


def chunk(*, partial: bool, **more: Any) -> str:
    series = {"name": "trade", "columns": ["time", "trade_id"], "values": [[1, 2], [3, 4]]}
    return json.dumps({"results": [{"statement_id": 0, "series": [series | {"partial": partial}], **more}]})


def test_a_chunk_says_whether_more_follow() -> None:
    found = [{"time": 1, "trade_id": 2}, {"time": 3, "trade_id": 4}]

    assert read_chunk(chunk(partial=True)) == (found, False)
    assert read_chunk(chunk(partial=False, partial_result=1)) == (found, True)
    assert read_chunk('{"results":[{"statement_id":0}]}') == ([], True)


@pytest.mark.parametrize("line", ['{"error": "timeout"}', '{"results":[{"error":"timeout"}]}', '{"results":[{"ser'])
def test_an_error_in_the_answer_is_no_end(line: str) -> None:
    with pytest.raises(ValueError, match=r"timeout|Unterminated|delimiter"):
        read_chunk(line)
