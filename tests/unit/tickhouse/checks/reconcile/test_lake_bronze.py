from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow.fs import LocalFileSystem

from tests.unit.tickhouse.checks.reconcile.samples import CORRUPTIONS, markets, trade
from tickhouse.checks.reconcile import bronze_rows
from tickhouse.checks.reconcile.lake_bronze import LakeReader
from tickhouse.checks.reconcile.model import plain
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import ExpectedTrades, LakeRepeats, compare

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()), ("market", pa.string()), ("symbol", pa.string()), ("stream", pa.string()),
        ("trade_id", pa.int64()), ("first_trade_id", pa.int64()), ("last_trade_id", pa.int64()),
        ("price", pa.decimal128(28, 8)), ("qty", pa.decimal128(28, 8)), ("side", pa.string()),
        ("trade_time", pa.timestamp("us", "UTC")), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64()),
    ]
)  # fmt: skip


def columns(one, offset, partition=0):
    return {
        "event_id": one.event_id, "market": one.key.market, "symbol": one.key.symbol, "stream": one.key.stream,
        "trade_id": one.trade_id, "first_trade_id": one.first_id, "last_trade_id": one.last_id,
        "price": Decimal(plain(one.price)), "qty": Decimal(plain(one.qty)), "side": one.side,
        "trade_time": one.time_us, "kafka_partition": partition, "kafka_offset": offset,
    }  # fmt: skip


def put(root, trades, batch=0, hour_of=lambda one: one.time_us):
    """Write one batch as the streaming job does: one file per hour, the manifest last."""
    hours = {}
    for offset, one in enumerate(trades):
        hour = datetime.fromtimestamp(hour_of(one) // 10**6, UTC).strftime("date=%Y-%m-%d/hour=%H")
        hours.setdefault(hour, []).append(columns(one, offset + batch * 1000))
    files = []
    for hour, found in hours.items():
        path = f"bronze/trades/{hour}/crypto.trades-0-{batch * 1000}-{batch * 1000 + len(trades)}.parquet"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(found, SCHEMA), root / path)
        files.append({"path": path, "rows": len(found), "bytes": 1})
    manifest = root / "bronze" / "_manifests" / "trades" / f"{batch:012d}-0.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"v": 1, "topic": "crypto.trades", "rows": len(trades), "files": files}))
    return manifest


def read(root):
    problems: list[str] = []
    store = LakeReader(LocalFileSystem(), str(root))
    return list(bronze_rows.trade_rows(store, store.bronze("trades"), problems)), problems


def test_rows_come_back_as_they_went_in(tmp_path):
    trades = [trade(1), trade(2, price=-1, qty=10**27), trade(3, time_us=trade(1).time_us + 3_600_000_000 + 1)]
    put(tmp_path, trades)
    rows, problems = read(tmp_path)
    assert sorted(row.trade for row in rows) == sorted(trades)
    assert sorted(row.place for row in rows) == [("crypto.trades", 0, offset) for offset in range(3)]
    assert not problems
    assert not any(row.fault for row in rows)


def test_a_file_that_no_manifest_names_is_not_read(tmp_path):
    put(tmp_path, [trade(1)], batch=0)
    put(tmp_path, [trade(2)], batch=1).unlink()
    assert [row.trade for row in read(tmp_path)[0]] == [trade(1)]


def test_a_file_that_is_gone_or_of_another_length_is_a_problem(tmp_path):
    manifest = put(tmp_path, [trade(1), trade(2)])
    document = json.loads(manifest.read_text())
    document["files"][0]["rows"] = 3
    manifest.write_text(json.dumps(document))
    assert "its manifest says 3" in read(tmp_path)[1][0]
    (tmp_path / document["files"][0]["path"]).unlink()
    rows, problems = read(tmp_path)
    assert rows == []
    assert "not there" in problems[0]


def test_a_row_in_another_hours_partition_is_a_fault(tmp_path):
    put(tmp_path, [trade(1)], hour_of=lambda one: one.time_us + 3_600_000_000)
    assert "it is in hour" in read(tmp_path)[0][0].fault


def test_an_empty_lake_has_no_rows(tmp_path):
    assert read(tmp_path) == ([], [])


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("000000000001-0.json", "{", "broken"),
        ("000000000001-0.json", "[]", "broken"),
        ("000000000001-0.json", '{"topic": "crypto.trades", "rows": 1}', "broken"),
        ("000000000001-0.json", "", "empty"),
        ("README.md", "what is this", "stray"),
        ("date=2024-01-01/hour=00/000000000001-0.pointer.json", '{"manifest": "nowhere"}', "unfinished"),
        ("date=tomorrow/000000000001-0.json", "{}", "stray"),
        ("../junk/1.json", "{}", "stray"),
    ],
)
def test_a_bad_manifest_is_reported_and_reading_continues(tmp_path, name, body, kind):
    put(tmp_path, [trade(1)])
    path = tmp_path / "bronze" / "_manifests" / "trades" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)
    bronze = LakeReader(LocalFileSystem(), str(tmp_path)).bronze("trades")
    assert [one.kind for one in bronze.problems] == [kind]
    assert [row.trade for row in read(tmp_path)[0]] == [trade(1)]


def test_a_reread_record_counts_once_and_a_repeat_inside_a_file_stays_one(tmp_path):
    one, two, three = trade(1), trade(2), trade(3)
    put(tmp_path, [one, two])
    reread = put(tmp_path, [one, two, three])  # the checkpoint was lost: offsets 0 to 3 come in one batch
    reread.rename(reread.with_name("000000000000-1.json"))
    put(tmp_path, [one, two]).with_name("000000000000-0.json")
    rows, problems = read(tmp_path)
    assert sorted(row.trade for row in rows) == [one, two, three]
    assert problems == []

    put(tmp_path, [trade(9), trade(9)], batch=5)
    assert sum(row.trade == trade(9) for row in read(tmp_path)[0]) == 2


def test_a_row_of_the_same_offset_but_another_event_is_not_dropped(tmp_path):
    put(tmp_path, [trade(1), trade(2)])
    other = put(tmp_path, [trade(3), trade(2), trade(4)])  # the topic was made again
    other.rename(other.with_name("000000000000-1.json"))
    put(tmp_path, [trade(1), trade(2)])
    assert sorted(row.trade for row in read(tmp_path)[0]) == [trade(1), trade(2), trade(3), trade(4)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.parametrize("name", CORRUPTIONS)
@given(trades=markets(), data=st.data())
def test_each_corruption_of_parquet_is_found(tmp_path_factory, name, trades, data):
    at = data.draw(st.integers(0, len(trades) - 1))
    root = tmp_path_factory.mktemp("lake")
    put(root, CORRUPTIONS[name](trades, at))
    by_stream = {}
    for one in trades:
        by_stream.setdefault(one.key, {})[one.trade_id] = one
    repeats = LakeRepeats({key: dict.fromkeys(found, 1) for key, found in by_stream.items()})
    result = StoreResult("lake")
    compare(repeats.watch(read(root)[0]), ExpectedTrades(by_stream), result, repeat=repeats)
    assert not result.ok
