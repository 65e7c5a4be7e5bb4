from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from tests.unit.tickhouse.checks.reconcile.samples import markets
from tickhouse.candles import INTERVALS_MS, CandleBar, _round_up, aggregated, length_ms, parse_time
from tickhouse.checks.reconcile.bars import bar_of, bars_of
from tickhouse.checks.reconcile.model import plain


def candle_of(bar):
    def number(value, places=8):
        return Decimal(plain(value, places))

    return CandleBar(
        bar.open_time_us // 1000, number(bar.open), number(bar.high), number(bar.low), number(bar.close),
        number(bar.volume), number(bar.quote_volume, 16), bar.trades, number(bar.taker_buy_volume),
        number(bar.taker_buy_quote_volume, 16),
    )  # fmt: skip


@given(markets(sentinels=False), st.sampled_from(list(INTERVALS_MS.values())))
def test_longer_bars_equal_those_made_of_the_trades_themselves(trades, length):
    key = trades[0].key
    own = [one for one in trades if one.key == key]
    minutes = [candle_of(bar) for _, bar in sorted(bars_of(own).items(), key=lambda found: found[0][1])]
    groups = {}
    for one in own:
        groups.setdefault(one.time_us // 1000 // length * length, []).append(one)
    wanted = {start: candle_of(bar_of(group)) for start, group in groups.items()}
    found = {candle.open_time_ms: candle for candle in aggregated(minutes, length)}
    assert found.keys() == wanted.keys()
    for start, candle in found.items():
        assert vars(candle) == vars(wanted[start]) | {"open_time_ms": start}


def test_sums_keep_all_of_38_digits():
    big = Decimal("9999999999999999999999.9999999999999999")
    one = CandleBar(0, *[Decimal(1)] * 4, big, big, 1, big, big)
    two = CandleBar(60_000, *[Decimal(1)] * 4, Decimal("1e-16"), Decimal("1e-16"), 1, Decimal(0), Decimal(0))
    assert next(aggregated([one, two], 300_000)).quote_volume == Decimal("10000000000000000000000.0000000000000000")


def test_json_has_decimals_as_plain_text():
    one = CandleBar(0, *[Decimal("1E-8")] * 4, Decimal("2E+3"), Decimal(1), 7, Decimal(0), Decimal(0))
    document = one.document()
    assert (document["open"], document["volume"], document["trades"]) == ("0.00000001", "2000", 7)
    assert list(document) == [
        "open_time_ms", "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
        "taker_buy_quote_volume",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["2024-08-08T23:55:00Z", "2024-08-08T23:55", "2024-08-09T01:55:00+02:00", "1723161300000", "2024-08-08 23:55:00"],
)
def test_moments_are_iso_or_milliseconds_and_utc(text):
    assert parse_time(text) == datetime(2024, 8, 8, 23, 55, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "", "1e5", "99999999999999999999"])
def test_an_invalid_time_is_refused(text):
    with pytest.raises(ConfigurationError, match="ISO 8601"):
        parse_time(text)


def test_an_unknown_interval_names_the_known_ones():
    with pytest.raises(ConfigurationError, match="1m, 5m, 15m, 1h, 1d"):
        length_ms("2m")


def test_an_interval_belongs_where_it_starts():
    at = parse_time("2024-08-08T23:57:00Z")
    assert _round_up(at, 300_000) == datetime(2024, 8, 9, tzinfo=UTC)
    assert _round_up(parse_time("2024-08-08T23:55:00Z"), 300_000) == parse_time("2024-08-08T23:55:00Z")
