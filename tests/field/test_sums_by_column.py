"""The sums of real captures are the same by column and one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from common.topics import TRADES
from schemas.loading import without_logical_types
from spark.streaming.column_sums import sums_of
from spark.streaming.partial_sums import TradeReader, partials
from spark.streaming.trade_blocks import FEWEST_IN_BLOCK, decode_trades, trade_types
from tests.field.in_memory_replays import InMemoryHome
from tests.shared_files import capture
from tests.unit.spark.streaming.test_column_sums import canonical

CAPTURES = {
    "ws/hft_spot_btcusdt_20240808.txt.gz": ("spot", None),
    "ws/hft_usdm_btcusdt_20240808.txt.gz": ("usdm", None),
    "rest/ft_XRPETH_aggTrades_20191011.jsonl.gz": ("spot", "XRPETH"),
}


@pytest.mark.parametrize("name", CAPTURES)
def test_sums_of_a_capture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    market, symbol = CAPTURES[name]
    values = trades_of(capture(name), market, symbol)
    assert len(values) > 4 * FEWEST_IN_BLOCK
    reader = TradeReader({int.from_bytes(values[0][1:5]): without_logical_types("trade")})
    one_by_one = partials(reader.facts(values), {})
    columns = [pa.array(values[at : at + 2_000], pa.binary()) for at in range(0, len(values), 2_000)]
    fields = list(trade_types())
    single = [decode_trades(reader, column.slice(0, 100), fields) for column in columns]
    blocks = [decode_trades(reader, column, fields).head(100) for column in columns]
    assert all(block.equals(each) for block, each in zip(blocks, single, strict=True))
    monkeypatch.setattr("spark.streaming.column_sums.partials", None)
    assert canonical(sums_of(reader, columns, {})) == canonical(one_by_one)


def trades_of(path: Path, market: str, symbol: str | None) -> list[bytes]:
    home = InMemoryHome(market)
    home.replay(path, symbol)
    records: list[Any] = home.outbox.records
    return [value for topic, _, value, _ in records if topic == TRADES]
