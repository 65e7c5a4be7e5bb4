"""Symbols of any script: equal characters mean equal symbols, and look-alikes are refused."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from common.symbols import check_given_symbol, in_stream_name, is_symbol, nearest, upper_latin
from producer.events import event_prefix, record_key
from producer.parsing.format_detection import symbol_of
from tickhouse.checks.reconcile.exact_values import Invalid
from tickhouse.checks.reconcile.exact_values import symbol as checked_symbol

CHINESE = "\u5e01\u5b89\u4eba\u751fUSDT"


def is_checkers_symbol(text):
    try:
        return checked_symbol(text) == text
    except Invalid:
        return False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BTCUSDT", True), ("1000SHIBUSDT", True), ("ADAUSD_PERP", True), ("BTCUSDT_240628", True), (CHINESE, True),
        ("\u30acUSDT", True), ("\uff22TCUSDT", True), ("\u0412TCUSDT", True),  # if the exchange lists them
        ("\u30ab\u3099USDT", False), ("E\u0301USDT", False), ("BTC\u200bUSDT", False), ("BTC\u202eUSDT", False),
        ("BTC USDT", False), ("BTC/USDT", False), ("BTC:USDT", False), ("btcusdt", False), ("", False),
        ("B" * 51, False), ("\u212bUSDT", False), ("\uf900USDT", False), ("\ud800", False), ("BTC\n", False),
        ("BTC\0", False),
    ],
)  # fmt: skip
def test_which_texts_are_symbols(text, expected):
    assert is_symbol(text) is expected
    assert is_checkers_symbol(text) is expected


@given(st.text(max_size=60))
def test_producer_and_checker_agree_on_every_text(text):
    assert is_symbol(text) == is_checkers_symbol(text)


@given(st.text(min_size=1, max_size=50).filter(is_symbol))
def test_two_symbols_never_share_a_key_and_ids_fit_every_store(text):
    assert record_key("spot", text).decode().split(":") == ["BINANCE", "SPOT", text]
    assert len(f"{event_prefix('coinm', text, 'aggTrade')}{2**63 - 1}".encode()) <= 512  # Elasticsearch's limit


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("btcusdt", "BTCUSDT"), ("\uff22\uff34\uff23USDT", "BTCUSDT"), ("\u0412\u0422\u0421USDT", "BTCUSDT"),
        ("\u0391DAUSDT", "ADAUSDT"), ("BTC\u200bUSDT", "BTCUSDT"), (" BTCUSDT", "BTCUSDT"),
        ("\u30ab\u3099USDT", "\u30acUSDT"),
    ],
)  # fmt: skip
def test_a_look_alike_is_refused_and_the_nearest_symbol_named(typed, meant):
    assert nearest(typed) == meant
    with pytest.raises(ConfigurationError, match=f"nearest one is {meant}"):
        check_given_symbol(typed)
    assert symbol_of(f"{typed}-aggTrades-2026-01-01.zip") in (None, unicodedata.normalize("NFC", typed))


@pytest.mark.parametrize("text", ["BTCUSDT", CHINESE, "\u0420\u0423\u0411USDT", "\u30acUSDT", "BTCUSD_PERP"])
def test_a_normal_symbol_is_accepted(text):
    assert check_given_symbol(text) == text


def test_only_latin_letters_change_case():
    assert in_stream_name(CHINESE) == "\u5e01\u5b89\u4eba\u751fusdt"
    assert (
        in_stream_name("\u0130STUSDT_PERP") == "\u0130stusdt_perp"
    )  # str.lower() would make two characters of the first
    assert upper_latin("stra\u00dfe") == "STRA\u00dfE"
