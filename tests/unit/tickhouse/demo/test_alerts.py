"""The market of the demo rings by the rules of the repository, in both sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from standins.exchange.config import DEMO, load_config
from standins.exchange.synthetic_market import MarketConfig, SyntheticMarket
from standins.exchange.trade_columns import TradeColumns
from tickhouse.alerts.alert import Alert
from tickhouse.alerts.judge import Judge, Moment
from tickhouse.alerts.rules import FILE, load_rules
from tickhouse.alerts.state import MINUTE_US
from tickhouse.alerts.windows import CandleStream, PriceBar, Windows
from tickhouse.demo.alerts import RungAlerts
from tickhouse.demo.market import MarketOptions, write

NOW = Moment(2_000_000_000_000_000, True)


def bars(table: TradeColumns) -> Iterator[PriceBar]:
    """Yield the minutes of one symbol; prices and quantities are in units of 10^-8."""
    is_trade = table.price > 0
    minutes = table.t_us[is_trade] // MINUTE_US * MINUTE_US
    prices, quantities = table.price[is_trade], table.qty[is_trade]
    for minute in sorted({int(one) for one in minutes}):
        ours = prices[minutes == minute].tolist()
        volume = sum(quantities[minutes == minute].tolist())
        yield PriceBar(minute, ours[0], max(ours), min(ours), ours[-1], volume)


def rung(config: MarketConfig) -> list[Alert]:
    judge = Judge(load_rules(FILE), {}, Windows(240, lambda *_: []))
    tables = SyntheticMarket.build(config).tables
    return [
        alert
        for symbol, table in tables.items()
        for bar in bars(table)
        for alert in judge.candle(CandleStream("spot", symbol, "aggTrade"), bar, bar.minute_us, NOW)
    ]


@pytest.mark.parametrize("is_light", [False, True])
def test_a_price_jump_rings(tmp_path: Path, is_light: bool) -> None:
    found = rung(load_config(write(tmp_path, MarketOptions(is_light=is_light))).market)

    jumps = {alert.symbol for alert in found if alert.kind == "price_move"}
    assert "PEPEUSDT" in jumps
    assert "BTCUSDT" not in jumps
    assert all(alert.is_simulated and not alert.is_historic for alert in found)


def test_a_huge_quantity_rings() -> None:
    found = rung(load_config(DEMO).market)

    assert {alert.symbol for alert in found if alert.kind == "volume_spike"} >= {"XRPUSDT", "DOGEUSDT"}


def test_the_summary_has_their_number_and_the_first() -> None:
    assert RungAlerts({"price_move": 4, "volume_spike": 2}, "PEPEUSDT rose.").in_words == (
        "6 rang; the first: PEPEUSDT rose."
    )
    assert RungAlerts().in_words == "none rang"
