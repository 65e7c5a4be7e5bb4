from __future__ import annotations

import pyarrow as pa
import pytest

from spark.streaming import trade_blocks
from spark.streaming.lake_trades import decoded_trades
from tests.unit.spark.streaming.test_column_sums import READER, framed, trade, units

BAD = [framed(trade(9))[:40], None, framed({**trade(9), "price": units(10**27), "qty": units(10**27)})]


@pytest.mark.parametrize("fewest", [1, 600])
def test_bad_records_keep_their_place(monkeypatch: pytest.MonkeyPatch, fewest: int) -> None:
    monkeypatch.setattr(trade_blocks, "FEWEST_IN_BLOCK", fewest)
    contracts = trade(3, market="coinm", symbol="BTCUSD_PERP")
    values = [framed(trade(1)), BAD[0], framed(trade(2)), BAD[1], framed(contracts), BAD[2]]
    offsets, parts = pa.array(range(40, 46), pa.int64()), pa.array([2] * 6, pa.int32())
    batch = pa.record_batch({"value": pa.array(values, pa.binary()), "partition": parts, "offset": offsets})
    found = decoded_trades(READER, batch)
    assert found["trade_id"].to_pylist() == [1, None, 2, None, 3, None]
    assert found["is_good"].to_pylist() == [True, False] * 3
    assert found["kafka_offset"].to_pylist() == list(range(40, 46))
    assert found.schema.field("price").type == pa.decimal128(28, 8)
    assert found.schema.field("trade_time").type == pa.timestamp("us", "UTC")
    assert found.schema.field("raw").type == pa.string()
