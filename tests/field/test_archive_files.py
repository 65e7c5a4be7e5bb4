"""Archive files that people have: the producer and the checker read the same from them.

Sources and right values: `shared/data/field/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from producer.events import Trade
from producer.parsing.decimals import from_bytes
from producer.parsing.source_files import batches, open_source
from producer.writer.intake import Origin
from tests.shared_files import field_file
from tests.unit.producer.fakes import FakeOutbox, intake_on
from tickhouse.checks.reconcile.json_records import Source
from tickhouse.checks.reconcile.model import SCALE
from tickhouse.checks.reconcile.model import CheckedTrade as Checked
from tickhouse.checks.reconcile.replayed_files import items

CHINESE = "\u5e01\u5b89\u4eba\u751fUSDT"


def trades_of(path: Path, symbol: str | None = None) -> list[Trade]:
    source = open_source(path, symbol)
    found = [source.format.parse(raw.decode()) for batch, _ in batches(source) for raw, _, _ in batch]
    assert all(isinstance(trade, Trade) for trade in found)
    return [trade for trade in found if isinstance(trade, Trade)]


def checked(path: Path, market: str, symbol: str) -> list[Checked]:
    return [item for item in items(path, Source(market, symbol)) if isinstance(item, Checked)]


def facts(trades: list[Trade]) -> Iterator[tuple[object, ...]]:
    """Yield the values on which producer and checker must agree."""
    for one in trades:
        price, qty = (int(from_bytes(value) * SCALE) for value in (one.price, one.qty))
        yield (
            one.stream, one.symbol, one.trade_id, one.first_trade_id, one.last_trade_id, price, qty, one.side,
            one.trade_us,
        )  # fmt: skip


def facts_of_checker(trades: list[Checked]) -> Iterator[tuple[object, ...]]:
    for one in trades:
        yield (
            one.key.stream, one.key.symbol, one.trade_id, one.first_id, one.last_id, one.price, one.qty, one.side,
            one.time_us,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "market", "symbol", "count"),
    [
        ("BTCUSDT-aggTrades-2023-11.csv", "usdm", "BTCUSDT", 12),
        ("BTCUSDT-aggTrades-2023-11-bom.csv", "usdm", "BTCUSDT", 12),
        ("BTCUSDT-aggTrades-2023-11.tsv", "usdm", "BTCUSDT", 12),
        ("BTCUSDT-aggTrades-2026-01-01-headed.csv", "spot", "BTCUSDT", 200),
        ("BTCUSDT-aggTrades-2021-12-14.csv", "spot", "BTCUSDT", 10),
        ("BTCUSDT-aggTrades-2021-12-15.csv", "spot", "BTCUSDT", 20),
        (f"{CHINESE}-aggTrades-2025-11-01.zip", "spot", CHINESE, 300),
        ("ETHUSDT-aggTrades-2023-05-01.zip", "usdm", "ETHUSDT", 2000),
        ("XRPETH-aggTrades-1100days.csv", "spot", "XRPETH", 1100),
        ("ADAUSD_PERP-trades-2026-01-05.csv", "coinm", "ADAUSD_PERP", 500),
    ],
)
def test_every_row_is_a_trade_for_producer_and_checker(name: str, market: str, symbol: str, count: int) -> None:
    path = field_file(name)

    found = trades_of(path, symbol)

    assert len({trade.trade_id for trade in found}) == len(found) == count
    assert list(facts(found)) == list(facts_of_checker(checked(path, market, symbol)))


@pytest.mark.parametrize("name", ["BTCUSDT-aggTrades-2023-11.csv", "BTCUSDT-aggTrades-2023-11.tsv"])
def test_a_spreadsheets_booleans_give_the_right_minute(name: str) -> None:
    first = [trade for trade in trades_of(field_file(name)) if trade.trade_us < 1_698_796_860_000_000]

    prices = [from_bytes(trade.price) for trade in sorted(first, key=lambda trade: trade.trade_id)]
    assert prices[0] == Decimal("34651.4")
    assert max(prices) == Decimal("34651.4")
    assert min(prices) == Decimal("34651.3")
    assert prices[-1] == Decimal("34651.3")
    assert sum(from_bytes(trade.qty) for trade in first) == Decimal("0.667")
    assert [trade.side for trade in first[:2]] == ["BUY", "SELL"]


def test_chinese_symbol_comes_from_the_name() -> None:
    found = trades_of(field_file(f"{CHINESE}-aggTrades-2025-11-01.zip"))

    assert {trade.symbol for trade in found} == {CHINESE}
    assert sum(from_bytes(trade.qty) for trade in found) == 3897


def test_a_name_that_binance_does_not_give_asks_for_the_symbol() -> None:
    with pytest.raises(ConfigurationError, match="--symbol BTCUSDT"):
        open_source(field_file("BTCUSDT-aggTrades-2023-11-bom.csv"))


def test_base_qty_of_coin_margined_trades_is_compared_and_not_used() -> None:
    path = field_file("ADAUSD_PERP-trades-2026-01-05.csv")
    source = open_source(path, market="coinm", contract_size=lambda symbol: 10)
    assert source.format.derived is not None

    lines = [raw.decode() for batch, _ in batches(source) for raw, _, _ in batch]
    found = [trade for line in lines if isinstance(trade := source.format.parse(line), Trade)]

    assert sum(from_bytes(trade.qty) for trade in found) == 19_831
    derived = source.format.derived
    ones = sum(from_bytes(trade.qty) == 1 for trade in found)
    assert derived.differing >= ones > 0
    assert derived.differing < derived.compared
    assert "880001002" in derived.example


def test_every_trade_of_the_chinese_symbol_reaches_kafka_under_its_own_name() -> None:
    path, outbox = field_file(f"{CHINESE}-aggTrades-2025-11-01.zip"), FakeOutbox()
    source, intake = open_source(path), intake_on(outbox, gaps=False, writer="file:test")

    for batch, _ in batches(source):
        intake.feed(
            batch, Origin("ARCHIVE", source.format.parse, source.format.identify, lambda at: f"{path.name}:{at}")
        )

    assert len(outbox.trades()) == 300
    assert {key for _, key, _, _ in outbox.records} == {f"BINANCE:SPOT:{CHINESE}".encode()}
    assert outbox.trades()[0]["event_id"].startswith(f"binance:spot:{CHINESE}:aggTrade:")
