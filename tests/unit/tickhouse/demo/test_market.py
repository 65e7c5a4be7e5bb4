"""The market of the demo, and what the command line changes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigurationError
from standins.exchange.config import DEMO, load_config
from standins.exchange.synthetic_market import SyntheticMarket
from tickhouse.demo.market import MarketOptions, check, write


def test_without_options_it_is_the_file(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, MarketOptions())) == load_config(DEMO)


def test_pace_and_events(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MarketOptions(pace=2.5, events=30_000)))
    assert (config.playback.speed, config.market.events) == (2.5, 30_000)
    assert config.faults == load_config(DEMO).faults


def test_light_has_fewer_symbols_and_trades_and_every_fault(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MarketOptions(is_light=True)))
    market = SyntheticMarket.build(config.full_market)
    assert len(market.tables) == 7  # and the one that is listed while it plays
    assert sum(len(table) for table in market.tables.values()) == 40_000
    assert config.faults == load_config(DEMO).faults


@pytest.mark.parametrize("options", [MarketOptions(events=50), MarketOptions(pace=float("nan"))])
def test_options_that_make_no_market_are_refused(options: MarketOptions) -> None:
    with pytest.raises(ConfigurationError):
        check(options)
