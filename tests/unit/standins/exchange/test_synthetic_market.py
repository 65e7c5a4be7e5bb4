from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from standins.exchange.synthetic_market import MINUTE, AggTrade, Listing, MarketConfig, SyntheticMarket, trades
from standins.exchange.trade_columns import NORMAL, OUT_OF_RANGE, SENTINEL, singles_of
from tests.unit.standins.exchange.markets import SMALL, small


def by_symbol(config: MarketConfig) -> dict[str, list[AggTrade]]:
    found: dict[str, list[AggTrade]] = defaultdict(list)
    for trade in trades(config):
        found[trade.symbol].append(trade)
    return found


def test_equal_configurations_give_equal_trades_and_another_seed_gives_others() -> None:
    first = list(trades(SMALL))
    assert first == list(trades(SMALL))
    assert len(first) == SMALL.events
    assert first != list(trades(SMALL.model_copy(update={"seed": 8})))


def test_another_process_draws_the_same_market() -> None:
    code = "import sys; from standins.exchange.synthetic_market import *;"
    code += " c = MarketConfig.model_validate_json(sys.argv[1]);"
    code += "import hashlib; print(hashlib.sha256(repr(list(trades(c))).encode()).hexdigest())"
    command = [sys.executable, "-c", code, SMALL.model_dump_json()]
    outputs = {subprocess.run(command, capture_output=True, check=True, text=True).stdout for _ in range(2)}
    assert len(outputs) == 1


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), sentinels=st.integers(0, 20), market=st.sampled_from(["spot", "usdm"]))
def test_ids_have_no_gaps_and_time_never_steps_back(seed: int, sentinels: int, market: str) -> None:
    changes = {"seed": seed, "sentinels": sentinels, "market": market}
    for rows in by_symbol(MarketConfig.model_validate(SMALL.model_dump() | changes)).values():
        assert [r.agg_id for r in rows] == list(range(rows[0].agg_id, rows[0].agg_id + len(rows)))
        assert all(a.time_us <= b.time_us for a, b in pairwise(rows))
        real = [r for r in rows if r.flag != SENTINEL]
        # USD-M omits trades outside the order book, so f may skip an id there, also before a
        # sentinel.
        for a, b in pairwise(real):
            skips = 0 if market == "spot" else b.agg_id - a.agg_id
            assert 1 <= b.first_id - a.last_id <= 1 + skips
        assert all(r.last_id >= r.first_id for r in real)


def test_global_order_is_by_time_and_all_times_are_whole_milliseconds() -> None:
    times = [trade.time_us for trade in trades(SMALL)]
    assert times == sorted(times)
    assert all(time % 1_000 == 0 for time in times)
    assert SMALL.start_us <= times[0]
    assert times[-1] < SMALL.end_us


def test_many_trades_share_one_time() -> None:
    rows = by_symbol(SMALL)["BTCUSDT"]
    shared = sum(a.time_us == b.time_us for a, b in pairwise(rows))
    assert shared > len(rows) // 5


def test_sentinels_have_no_price_but_an_id() -> None:
    found = [trade for trade in trades(SMALL) if trade.flag == SENTINEL]
    assert len(found) == SMALL.sentinels
    assert {(t.price, t.qty, t.first_id, t.last_id) for t in found} == {("0", "0", -1, -1)}


def test_out_of_range_trades_do_not_fit_and_all_others_do() -> None:
    def fits(text: str) -> bool:
        value = Decimal(text)
        return value < 10**20 and value == value.quantize(Decimal("1e-8"))

    for trade in trades(SMALL):
        assert (fits(trade.price) and fits(trade.qty)) == (trade.flag != OUT_OF_RANGE)
    assert sum(trade.flag == OUT_OF_RANGE for trade in trades(SMALL)) == SMALL.out_of_range


def test_some_valid_numbers_have_more_than_eight_decimals_of_zeros() -> None:
    padded = [t for t in trades(SMALL) if t.flag == NORMAL and len(t.price.partition(".")[2]) > 8]
    assert len(padded) == SMALL.trailing_zeros


def test_silent_minutes_are_silent_and_a_new_symbol_starts_with_id_zero() -> None:
    found = by_symbol(SMALL)
    minutes = {(t.time_us - SMALL.start_us) // MINUTE for t in found["XRPETH"]}
    assert minutes == {0, 3, 4}
    listed = found["TICKUSDT"]
    assert listed[0].agg_id == 0
    assert listed[0].first_id == 0
    assert listed[0].time_us >= SMALL.listed_us()["TICKUSDT"]


def test_prices_are_whole_ticks_above_zero_and_quantities_whole_steps() -> None:
    for table in small().tables.values():
        normal = table.normal
        assert (normal.price > 0).all()
        assert (normal.qty > 0).all()
        assert not (normal.price % table.spec.tick_units).any()
        assert not (normal.qty % table.spec.step_units).any()


def test_single_trades_conserve_quantity_and_ids() -> None:
    for table in small().tables.values():
        single = singles_of(table)
        assert (single.qty[single.flags == NORMAL] > 0).all()
        assert int(single.qty.sum()) == int(table.qty.sum())
        assert len(single) == int((table.last - table.first + 1)[table.first >= 0].sum())
        assert (single.ids[1:] - single.ids[:-1] == 1).all()


def test_another_start_moves_every_trade_and_changes_nothing_else() -> None:
    moved = small().starting_at(SMALL.start_us + 5_000)
    assert moved.config.start_us == SMALL.start_us + 5_000
    for name, table in small().tables.items():
        assert (moved.tables[name].t_us - table.t_us == 5_000).all()
        assert (moved.tables[name].price == table.price).all()


def test_the_default_market_has_the_promised_size() -> None:
    config = MarketConfig()
    market = SyntheticMarket.build(config)
    assert len(market.tables) >= 20
    assert config.length_s >= 20 * 60
    assert sum(map(len, market.tables.values())) == config.events >= 200_000
    huge = max(int(table.qty.max()) for table in market.tables.values())
    assert huge == 46_116_860_414 * 10**8


@pytest.mark.parametrize(
    "change",
    [
        {"symbols": ("NOSUCH",)},
        {"symbols": ("BTCUSDT", "BTCUSDT")},
        {"events": 10},
        {"start_us": 1_723_161_240_000_001},
        {"listings": (Listing(symbol="NOSUCH"),)},
        {"typo": 1},
    ],
)
def test_a_wrong_market_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MarketConfig.model_validate(SMALL.model_dump() | change)
