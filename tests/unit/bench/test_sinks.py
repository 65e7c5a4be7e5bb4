"""The floors write what the connectors write, and the feed sends what Spark sends."""

from __future__ import annotations

import struct
from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import connect_cassandra, connect_elasticsearch, connect_mongodb, sinks
from bench.connect_freshness_p95_s import _positions, in_order
from schemas.loading import without_logical_types
from tickhouse.checks.reconcile import cassandra, elasticsearch, mongodb
from tickhouse.checks.reconcile.documents import enriched_document_fault
from tickhouse.checks.reconcile.kafka_records import trade_of


def canonical(one: sinks.EnrichedRow, store: str) -> dict[str, object]:
    if store == "mongodb":
        return dict(mongodb.read(connect_mongodb.document(one), "trades").fields)
    if store == "elasticsearch":
        return dict(elasticsearch.read(connect_elasticsearch.action(one)).fields)
    return dict(cassandra.read(dict(zip(connect_cassandra.COLUMNS, connect_cassandra.row(one), strict=True))).fields)


@pytest.mark.parametrize("store", ["mongodb", "elasticsearch", "cassandra"])
@given(number=st.integers(0, 10**10))
def test_a_floor_writes_the_trade_to_the_last_digit(store: str, number: int) -> None:
    one = sinks.trade(number)
    found = canonical(one, store)
    trade = trade_of(found)
    assert trade == trade_of(one)
    assert enriched_document_fault(found, trade) == ""


@given(st.integers(0, 10**10))
def test_the_feed_encodes_what_the_schema_says(number: int) -> None:
    one = sinks.trade(number)
    schema = fastavro.parse_schema(without_logical_types("enriched_trade"))
    body = BytesIO()
    fastavro.schemaless_writer(body, schema, one | {name: sinks._bytes(one[name]) for name in sinks.DECIMALS})
    body.seek(0)
    back = fastavro.schemaless_reader(body, schema, None)
    assert {**back, **{name: int.from_bytes(back[name], "big", signed=True) for name in sinks.DECIMALS}} == one
    assert struct.calcsize(">bI") == 5


def test_the_newest_id_of_a_symbol_is_a_position_in_its_events() -> None:
    first = 10**9
    order = in_order(first)
    assert sorted(order) == sorted(sinks.SYMBOLS)
    starts = {symbol: at for at, symbol in enumerate(order)}
    asked = _positions(lambda: {order[0]: first + 2 * len(order), order[1]: first + 1, "OLD": 5}, first, starts)
    assert asked() == {order[0]: 2, order[1]: 0}
