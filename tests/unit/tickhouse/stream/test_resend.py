"""Rows of bronze back to the bytes they were in `crypto.trades`."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from producer.encoding.events import Encoder, decode
from producer.events import Trade
from spark.checkpoints.lost_offsets import LostOffsets
from tests.lakes import BRONZE, bronze_files, trade, write
from tests.lakes import rows_of as bronze_rows
from tickhouse.stream.resend import encode, files_that_may_hold, rows_of

LOST = LostOffsets("candles", "crypto.trades", "id", 0, 3, 6, "offsets_expired", 0)


def lake(folder: Path) -> list[dict[str, object]]:
    """Two batches of five trades each; returns their manifests."""
    manifests = []
    for number in range(2):
        trades = [trade(number * 5 + one, 1_723_118_400_000_000 + one) for one in range(5)]
        files = bronze_files(bronze_rows(trades, number * 5), number)
        write(folder, files)
        manifests.append(json.loads(next(body for path, body in files.items() if "_manifests" in path)))
    return manifests


def test_exactly_the_rows_of_the_lost_offsets_are_found(tmp_path: Path) -> None:
    manifests = lake(tmp_path)

    paths = files_that_may_hold(manifests, LOST)
    rows = list(rows_of(LocalFileSystem(), str(tmp_path), paths, LOST))

    assert len(paths) == 2
    assert [row["trade_id"] for row in rows] == [3, 4, 5]


def test_a_log_without_a_known_end_gives_all_that_follows(tmp_path: Path) -> None:
    open_end = LostOffsets("candles", "crypto.trades", "id", 0, 8, None, "topic_recreated", 0)

    rows = list(rows_of(LocalFileSystem(), str(tmp_path), files_that_may_hold(lake(tmp_path), open_end), open_end))

    assert [row["trade_id"] for row in rows] == [8, 9]


def test_files_of_another_topic_of_the_same_name_are_not_read(tmp_path: Path) -> None:
    manifests = [one | {"topic_id": name} for one, name in zip(lake(tmp_path), ("id", "other"), strict=True)]

    assert len(files_that_may_hold(manifests, LOST)) == 1


def test_the_value_is_byte_for_byte_what_the_producer_sent(tmp_path: Path) -> None:
    encoder = Encoder("usdm", trade_schema_id=5, tick_schema_id=6)
    for price, qty in ((1, 1), (127, 128), (-1, 0), (61_000_12345678, 10**19)):
        units = [number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True) for number in (price, qty)]
        sent = Trade(
            "aggTrade", "币安人生USDT", 9, 20, 22, *units, "SELL", 1_723_118_400_123_456, 1_723_118_400_123_000
        )
        value = encoder.trades(sent.symbol, sent.stream, "WEBSOCKET")("binance:usdm:x:9", sent, 77, b'{"e":"aggTrade"}')
        row = decode("trade", value)
        path = tmp_path / "one.parquet"
        pq.write_table(pa.Table.from_pylist([row | {"kafka_partition": 0, "kafka_offset": 0}], BRONZE), path)
        stored = pq.read_table(path).drop_columns(["kafka_partition", "kafka_offset"]).to_pylist()[0]

        assert encode(stored, 5) == value
