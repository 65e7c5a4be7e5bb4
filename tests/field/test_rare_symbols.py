"""Files of rare symbols: a trade per day for years must not make an index or partition per day."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.shared_files import field_file
from tickhouse.checks.reconcile import elasticsearch
from tickhouse.checks.reconcile.json_records import Source
from tickhouse.checks.reconcile.model import CheckedTrade
from tickhouse.checks.reconcile.replayed_files import items
from tickhouse.retention.candles import partition_of
from tickhouse.retention.declaration import load

SHARDS_OF_A_NODE = 1_000


def test_1100_days_of_xrpeth_are_few_indices_and_partitions() -> None:
    path = field_file("XRPETH-aggTrades-1100days.csv")
    trades = [one for one in items(path, Source("spot", "XRPETH")) if isinstance(one, CheckedTrade)]
    assert len(trades) == 1_100

    indices = {elasticsearch.index_of(elasticsearch.TRADES, trade.time_us) for trade in trades}
    days = {datetime.fromtimestamp(trade.time_us // 10**6, UTC).date() for trade in trades}
    assert len(days) == 1_100 > SHARDS_OF_A_NODE
    assert len(indices) == len({partition_of(day) for day in days}) <= 37
    # Trades and ticks at most, and what else the node holds.
    assert 2 * load().elasticsearch.most_indices <= SHARDS_OF_A_NODE - 100
