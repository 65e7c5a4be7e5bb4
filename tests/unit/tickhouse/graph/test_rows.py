"""Rows of the graph: pure functions over tables of the lake and over exchangeInfo."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from tickhouse.graph.hours import exact_text, hour_rows
from tickhouse.graph.source import GraphCommit
from tickhouse.graph.statements import BATCH, CONSTRAINTS, KEYS, batches
from tickhouse.graph.symbols import (
    GONE,
    SymbolRow,
    changed_rows,
    listed_symbols,
    merged,
    traded_symbols,
    with_gone,
)
from tickhouse.graph.sync import refuse_older, refuse_other_kind

BTC = SymbolRow("spot", "BTCUSDT", "BTC", "USDT", "TRADING")
ETH = SymbolRow("spot", "ETHBTC", "ETH", "BTC", "TRADING")
NOW = "2024-08-09T00:00:00Z"


def entry(**values: Any) -> bytes:
    return json.dumps(values).encode()


def candle(hour: int = 12, **values: Any) -> dict[str, Any]:
    times = {"open_time": datetime(2024, 8, 8, hour, tzinfo=UTC)}
    names = {"market": "spot", "symbol": "BTCUSDT", "trades": 3, "agg_trades": 2}
    amounts = {"close": Decimal("61000.10000000"), "volume": Decimal(2), "quote_volume": Decimal("122000.20")}
    return times | names | amounts | values


def test_listed_symbols_are_read_and_broken_entries_skipped() -> None:
    perpetual = entry(
        symbol="BTCUSD_PERP", baseAsset="BTC", quoteAsset="USD", contractStatus="TRADING", onboardDate=1_597_042_800_000
    )
    entries = [perpetual, entry(symbol="ethusdt", baseAsset="ETH", quoteAsset="USDT"), b'{"symbol": 1}', b"{}"]

    assert listed_symbols("coinm", entries) == [
        SymbolRow("coinm", "BTCUSD_PERP", "BTC", "USD", "TRADING", 1_597_042_800_000)
    ]


def test_a_symbol_of_any_script_keeps_its_characters() -> None:
    (found,) = listed_symbols("spot", [entry(symbol="币安人生USDT", baseAsset="币安人生", quoteAsset="USDT")])

    assert (found.symbol_id, found.row()["pair"]) == ("spot:币安人生USDT", "币安人生-USDT")


def test_the_lake_gives_base_and_quote_where_it_knows_the_quote() -> None:
    movers = [
        {"market": "spot", "symbol": "BTCUSDT", "quote": "USDT"},
        {"market": "coinm", "symbol": "BTCUSD_240628", "quote": "USD"},
        {"market": "spot", "symbol": "WHATEVER", "quote": ""},
    ]

    assert [(one.symbol_id, one.base, one.quote) for one in traded_symbols(movers)] == [
        ("coinm:BTCUSD_240628", "BTC", "USD"),
        ("spot:BTCUSDT", "BTC", "USDT"),
    ]


def test_the_exchange_is_right_where_both_know_a_symbol() -> None:
    guess = SymbolRow("spot", "BTCUSDT", "BTCU", "SDT")

    assert merged([BTC], [guess, ETH]) == [BTC, ETH]


def test_a_symbol_that_the_exchange_no_longer_lists_is_gone_once_it_answered() -> None:
    guessed = SymbolRow("spot", "OLDUSDT", "OLD", "USDT")

    assert with_gone([BTC, ETH, guessed], [BTC], {"spot"}) == [replace(ETH, status=GONE)]
    assert with_gone([BTC, ETH], [], {"usdm"}) == []


def test_only_changed_symbols_have_rows_and_only_changed_statuses_have_listings() -> None:
    stopped, moved = replace(BTC, status="BREAK"), replace(ETH, onboard_ms=5)

    rows = changed_rows([BTC, ETH], [stopped, moved], NOW)

    assert [(row["symbol_id"], row["listings"]) for row in rows] == [
        ("spot:BTCUSDT", [{"listing_id": f"spot:BTCUSDT:{NOW}", "status": "BREAK", "seen_at": NOW}]),
        ("spot:ETHBTC", []),
    ]
    assert changed_rows([stopped, moved], [stopped, moved], NOW) == []
    assert changed_rows([], [replace(BTC, status="")], NOW)[0]["listings"] == []


def test_an_hour_has_exact_text_and_a_silent_one_no_row() -> None:
    rows = hour_rows("2024-08-08", [candle(13), candle(12), candle(14, agg_trades=0, volume=Decimal(0))])

    assert rows[0] == {
        **{"hour_id": "spot:BTCUSDT:2024-08-08T12", "symbol_id": "spot:BTCUSDT", "hour": "2024-08-08T12"},
        **{"date": "2024-08-08", "market": "spot", "symbol": "BTCUSDT", "trades": 3},
        **{"close": "61000.1", "volume": "2", "quote_volume": "122000.2"},
    }
    assert [row["hour"] for row in rows] == ["2024-08-08T12", "2024-08-08T13"]


@given(st.decimals(min_value=0, max_value=10**21, allow_nan=False, allow_infinity=False, places=16))
def test_text_of_a_decimal_keeps_its_value_and_has_one_form(value: Decimal) -> None:
    text = exact_text(value)

    assert Decimal(text) == value
    assert "E" not in text.upper()
    assert exact_text(Decimal(text + ("" if "." in text else ".") + "000")) == text


@given(st.lists(st.integers(0, 5_000), unique=True))
def test_batches_are_sorted_bounded_and_whole(numbers: list[int]) -> None:
    made = list(batches([{"id": f"{number:05d}"} for number in numbers], "id"))

    assert [row["id"] for batch in made for row in batch] == sorted(f"{number:05d}" for number in numbers)
    assert all(0 < len(batch) <= BATCH for batch in made)


def test_every_key_has_a_constraint() -> None:
    assert all(any(f":{label})" in one and f"one.{key} " in one for one in CONSTRAINTS) for label, key in KEYS.items())


def test_an_older_commit_is_refused_and_a_newer_one_passes() -> None:
    loaded = [{"commit_id": "b" * 64, "committed_at": 100}]

    refuse_older([], GraphCommit("a" * 64, 1, {}))
    refuse_older(loaded, GraphCommit("b" * 64, 100, {}))
    refuse_older(loaded, GraphCommit("c" * 64, 101, {}))
    with pytest.raises(ConfigurationError, match="older than commit bbbb"):
        refuse_older(loaded, GraphCommit("a" * 64, 99, {}))


def test_real_and_synthetic_trades_never_share_a_graph() -> None:
    refuse_other_kind([], "real")
    refuse_other_kind([{"market_kind": None}], "real")
    refuse_other_kind([{"market_kind": "real"}], "real")
    refuse_other_kind([{"market_kind": "real"}], None)
    with pytest.raises(ConfigurationError, match="holds a real market"):
        refuse_other_kind([{"market_kind": "real"}], "simulated")
