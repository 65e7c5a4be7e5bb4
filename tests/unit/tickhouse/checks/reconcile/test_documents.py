from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tickhouse.checks.reconcile.samples import CORRUPTIONS, markets, trade
from tickhouse.checks.reconcile import cassandra, elasticsearch, mongodb
from tickhouse.checks.reconcile.connect_sinks import compare_search_ticks
from tickhouse.checks.reconcile.documents import (
    HOUR_US,
    Document,
    Unreadable,
    enriched_document_fault,
    exact_micros,
    micros,
    raw_document_fault,
    read_each,
    rows,
    stored_twice,
    unscaled,
)
from tickhouse.checks.reconcile.model import CheckedTrade, plain
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import ExpectedTrades, compare

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


def common(one: CheckedTrade) -> dict[str, Any]:
    base, quote = one.key.symbol[:3], one.key.symbol[3:]
    return {
        "market": one.key.market, "symbol": one.key.symbol, "stream": one.key.stream, "trade_id": one.trade_id,
        "first_trade_id": one.first_id, "last_trade_id": one.last_id, "side": one.side, "base": base, "quote": quote,
        "pair": f"{base}-{quote}", "is_sentinel": one.is_sentinel, "source": "SIMULATED",
    }  # fmt: skip


def times(one: CheckedTrade) -> dict[str, int]:
    return {"trade_time": one.time_us, "minute": one.minute_us, "bucket": one.time_us - one.time_us % HOUR_US}


def numbers(one: CheckedTrade) -> dict[str, Decimal]:
    figures = {"price": plain(one.price), "qty": plain(one.qty), "quote_qty": plain(one.price * one.qty, 16)}
    return {name: Decimal(text) for name, text in figures.items()}


def in_mongodb(one: CheckedTrade) -> dict[str, Any]:
    found: dict[str, Any] = {"_id": one.event_id, **common(one)}
    found |= {name: Decimal128(value) for name, value in numbers(one).items()}
    for name, value in times(one).items():
        found |= {name: moment(value // 1000 * 1000), f"{name}_us": value}
    return found


def in_elasticsearch(one: CheckedTrade) -> dict[str, Any]:
    source = {"event_id": one.event_id, **common(one)} | {name: format(v, "f") for name, v in numbers(one).items()}
    source |= {name: f"{moment(value):%Y-%m-%dT%H:%M:%S.%fZ}" for name, value in times(one).items()}
    return {"_id": one.event_id, "_index": elasticsearch.index_of(elasticsearch.TRADES, one.time_us), "_source": source}


def in_cassandra(one: CheckedTrade) -> dict[str, Any]:
    row = {"event_id": one.event_id, **common(one), **numbers(one), "trade_time_us": one.time_us}
    return row | {name: moment(value // 1000 * 1000).replace(tzinfo=None) for name, value in times(one).items()}


READERS: dict[str, Any] = {
    "mongodb": (in_mongodb, lambda found: mongodb.read(found, "trades"), lambda found: found["_id"]),
    "elasticsearch": (in_elasticsearch, elasticsearch.read, lambda found: found["_id"]),
    "cassandra": (in_cassandra, cassandra.read, lambda found: found["event_id"]),
}


def context(store: str, stored: list[Any], offered: list[CheckedTrade]) -> tuple[StoreResult, list[Unreadable]]:
    _, read, identity = READERS[store]
    result, bad = StoreResult(store), list[Unreadable]()
    found = rows(read_each(stored, identity, read), bad, enriched_document_fault)
    compare(found, ExpectedTrades({one.key: {} for one in offered} | by_key(offered)), result, repeat=stored_twice)
    return result, bad


def by_key(trades: list[CheckedTrade]) -> dict[Any, dict[int, CheckedTrade]]:
    found: dict[Any, dict[int, CheckedTrade]] = {}
    for one in trades:
        found.setdefault(one.key, {})[one.trade_id] = one
    return found


@pytest.mark.parametrize("store", READERS)
@given(offered=markets())
def test_right_documents_are_right(store: str, offered: list[CheckedTrade]) -> None:
    make = READERS[store][0]
    result, bad = context(store, [make(one) for one in offered], offered)
    assert (result.ok, bad, result.delivered) == (True, [], len(offered))


@pytest.mark.parametrize("store", READERS)
@pytest.mark.parametrize("how", CORRUPTIONS)
@given(offered=markets(), data=st.data())
def test_each_corruption_is_seen(store: str, how: str, offered: list[CheckedTrade], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(offered) - 1))
    stored = [READERS[store][0](one) for one in CORRUPTIONS[how](offered, at)]
    result, bad = context(store, stored, offered)
    assert not result.ok or bad


@pytest.mark.parametrize("store", READERS)
def test_a_number_of_a_wrong_kind_is_unreadable(store: str) -> None:
    one = READERS[store][0](trade())
    (one["_source"] if store == "elasticsearch" else one)["price"] = 61685.99
    _, bad = context(store, [one], [trade()])
    assert [unreadable.identity for unreadable in bad] == [trade().event_id]
    assert "was 61685.99" in bad[0].detail


def test_a_document_in_the_index_of_another_month_is_unreadable() -> None:
    hit = in_elasticsearch(trade()) | {"_index": "crypto-trades-2020.01"}
    _, bad = context("elasticsearch", [hit], [trade()])
    assert "Expected it in crypto-trades-2024.08" in bad[0].detail


@given(st.integers(-(10**27), 10**27), st.integers(0, 16))
def test_decimals_become_integers_exactly(number: int, places: int) -> None:
    assert unscaled(Decimal(plain(number, places)), places) == number


@pytest.mark.parametrize("value", [Decimal("1.000000001"), Decimal("NaN"), Decimal("Infinity"), 1.5, "1", None])
def test_a_value_that_the_model_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="Expected"):
        unscaled(value, 8)


@given(st.integers(0, 4 * 10**15))
def test_microseconds_beside_a_timestamp_belong_to_it(time_us: int) -> None:
    stored = moment(time_us // 1000 * 1000)
    assert exact_micros(stored, time_us) == exact_micros(stored.replace(tzinfo=None), time_us) == time_us
    with pytest.raises(ValueError, match="Expected the millisecond"):
        exact_micros(stored, time_us + 1000)
    with pytest.raises(ValueError, match="Expected a time"):
        micros(time_us)


def test_an_hour_that_is_not_the_trades_is_a_fault() -> None:
    document = mongodb.read(in_mongodb(trade()), "trades")
    wrong = Document(document.identity, document.place, {**document.fields, "bucket": 0})
    (row,) = rows([wrong], [], enriched_document_fault)
    assert row.fault.startswith("bucket")


def test_a_raw_document_needs_its_frame() -> None:
    assert raw_document_fault({"raw": "{}", "source": "REST"}, trade()) == ""
    assert raw_document_fault({"raw": "", "source": "REST"}, trade())


def test_ticks_of_the_search_store_are_those_of_the_topic() -> None:
    right = [("a", ""), ("b", "")]
    assert compare_search_ticks(iter(right), {"a", "b"}, 5).ok
    faults = compare_search_ticks(iter([("a", ""), ("a", ""), ("c", "wrong day")]), {"a", "b"}, 5).faults
    assert faults == {"missing": 1, "duplicate": 1, "mismatch": 1}
    assert compare_search_ticks(iter([*right, ("later", "")]), {"a", "b"}, 5).ahead == 1


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.integers(-(10**34) + 1, 10**34 - 1).map(Decimal))
def test_a_decimal_of_mongodb_is_what_its_library_reads(value: Decimal) -> None:
    try:
        stored = Decimal128(value)
    except DecimalException:
        return  # MongoDB cannot hold it
    for places in (0, 8, 16):
        try:
            wanted: object = unscaled(stored.to_decimal(), places)
        except ValueError as error:
            wanted = str(error)
        try:
            found: object = mongodb.units_of(stored, places)
        except ValueError as error:
            found = str(error)
        assert found == wanted
