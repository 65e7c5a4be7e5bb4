"""Files that people have, through the whole pipeline, by a shell that knows ASCII only."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from common.settings import Settings
from tests.conftest import Stack
from tests.e2e.lakehouse import assert_conserved, await_stream, tickhouse
from tests.shared_files import field_file

pytestmark = pytest.mark.e2e

CHINESE = "\u5e01\u5b89\u4eba\u751fUSDT"


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    settings = stack.up()
    await_stream(settings)
    return settings


def candles(market: str, symbol: str, start: str, end: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tickhouse(
        "candles", "--market", market, "--symbol", symbol, "--from", start, "--to", end
    )
    return rows


def test_files_that_people_have_are_in_every_store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Booleans as a spreadsheet writes them, a Chinese symbol, and quantities in contracts."""
    spreadsheet = field_file("BTCUSDT-aggTrades-2023-11.csv")
    chinese = field_file(f"{CHINESE}-aggTrades-2025-11-01.zip")
    contracts = field_file("ADAUSD_PERP-trades-2026-01-05.csv")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.delenv("PYTHONUTF8", raising=False)

    usdm_replay = tickhouse("replay", spreadsheet, "--market", "usdm")["files"][0]
    spot_replay = tickhouse("replay", chinese, "--market", "spot")["files"][0]
    coinm_replay = tickhouse("replay", contracts, "--market", "coinm")["files"][0]

    assert usdm_replay["counts"]["delivered"] == 12
    assert spot_replay["counts"]["delivered"] == 300
    assert coinm_replay["counts"]["delivered"] == 500
    first = candles("usdm", "BTCUSDT", "2023-11-01", "2023-11-02")[0]
    assert Decimal(first["open"]) == Decimal("34651.4")
    assert Decimal(first["high"]) == Decimal("34651.4")
    assert Decimal(first["low"]) == Decimal("34651.3")
    assert Decimal(first["close"]) == Decimal("34651.3")
    assert Decimal(first["volume"]) == Decimal("0.667")
    assert sum(Decimal(candle["volume"]) for candle in candles("spot", CHINESE, "2025-11-01", "2025-11-02")) == 3897
    coinm = candles("coinm", "ADAUSD_PERP", "2026-01-05", "2026-01-06")
    assert sum(Decimal(candle["volume"]) for candle in coinm) == 19_831
    coins = sum(Decimal(candle["quote_volume"]) for candle in coinm)
    assert round(coins, 3) == Decimal("480954.525")
    first_id = spot_replay["delivered"][0]["ranges"][0][0]
    explained = tickhouse("explain", f"binance:spot:{CHINESE}:aggTrade:{first_id}")
    assert explained["found"]
    assert explained["systems"]["postgres"]["is_applied"]
    assert_conserved(tickhouse("reconcile", "--wait", "60"))
