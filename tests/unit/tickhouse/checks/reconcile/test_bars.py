from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tickhouse.checks.reconcile.samples import BTC, START_US, markets, trade
from tickhouse.checks.reconcile.bars import bar_of, bars_of, vwap
from tickhouse.checks.reconcile.model import MINUTE_US, checksum, plain


def test_a_bar_by_hand():
    group = [
        trade(3, price=300, qty=10, side="SELL", first_id=8, last_id=8),
        trade(1, price=100, qty=20, side="BUY", first_id=1, last_id=5),
        trade(2, price=500, qty=30, side="BUY", first_id=6, last_id=7),
    ]
    bar = bar_of(group)
    assert (bar.open, bar.high, bar.low, bar.close) == (100, 500, 100, 300)
    assert (bar.volume, bar.quote_volume) == (60, 3000 + 2000 + 15000)
    assert (bar.trades, bar.agg_trades) == (8, 3)
    assert (bar.taker_buy_volume, bar.taker_buy_quote_volume) == (50, 17000)
    assert (bar.open_trade_id, bar.close_trade_id, bar.open_time_us) == (1, 3, START_US)
    assert bar.checksum == sum(map(checksum, group)) % 2**64


def test_the_checksum_is_the_contracts():
    # md5("1|61685.99000000|0.00150000|BUY|1723161240001000"), first 15 hex digits.
    import hashlib

    text = "1|61685.99000000|0.00150000|BUY|1723161240001000"
    assert checksum(trade(1)) == int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


@given(st.integers(1, 10**36), st.integers(1, 10**20))
def test_vwap_rounds_half_up_at_the_sixteenth_decimal(quote_volume, volume):
    context = Context(prec=120)
    exact = context.divide(Decimal(quote_volume).scaleb(-16, context), Decimal(volume).scaleb(-8, context))
    rounded = exact.quantize(Decimal("1e-16"), ROUND_HALF_UP, context)
    assert plain(vwap(quote_volume, volume), 16) == f"{rounded:f}"


def test_half_goes_up():
    assert vwap(1, 2 * 10**8) == 1
    assert vwap(1, 2 * 10**8 + 1) == 0


@given(markets(), st.randoms(use_true_random=False))
def test_bars_do_not_depend_on_the_order_of_arrival(trades, random: Random):
    shuffled = list(trades)
    random.shuffle(shuffled)
    assert bars_of(shuffled) == bars_of(trades)


@given(markets())
def test_every_trade_but_the_sentinels_is_in_one_bar(trades):
    bars = bars_of(trades)
    assert sum(bar.agg_trades for bar in bars.values()) == sum(not one.is_sentinel for one in trades)
    assert all(minute % MINUTE_US == 0 and key in (bar.key,) for (key, minute), bar in bars.items())


def test_a_sentinel_makes_no_bar():
    assert bars_of([trade(1, price=0), trade(2, qty=0), trade(3, price=-1)]) == {}
    assert list(bars_of([trade(1, price=0), trade(4)])) == [(BTC, START_US)]
