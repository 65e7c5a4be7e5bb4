"""Each kind of wrong hour in the graph is named (on the real server: tests/integration/graph)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tickhouse.checks.reconcile.neo4j import StoredGraph, compare
from tickhouse.checks.reconcile.store_result import StoreResult

AMOUNTS = {"close": Decimal("0.05100000"), "volume": Decimal("12.00000000"), "quote_volume": Decimal("1E+3")}


def hour(symbol: str, number: int) -> dict[str, Any]:
    """Return an expected hour."""
    names = {"hour_id": f"spot:{symbol}:2024-08-08T{number:02d}", "symbol_id": f"spot:{symbol}"}
    return names | AMOUNTS | {"trades": 7}


WANTED = {one["hour_id"]: one for one in (hour("BTCUSDT", 11), hour("BTCUSDT", 12), hour("ETHUSDT", 12))}
# As the graph holds them: amounts are text without trailing zeros.
STORED = tuple(one | {"close": "0.051", "volume": "12", "quote_volume": "1000"} for one in WANTED.values())


def checked(*hours: dict[str, Any], removed: frozenset[str] = frozenset()) -> StoreResult:
    result = StoreResult("neo4j")
    compare(StoredGraph("a1b2", hours, removed), WANTED, result)
    return result


def faults(result: StoreResult) -> dict[str, int]:
    return {name: count for name, count in result.faults.items() if count}


def test_a_graph_that_equals_its_commit_has_no_fault() -> None:
    result = checked(*STORED)

    assert (faults(result), result.delivered, result.count, result.distinct) == ({}, 3, 3, 3)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (STORED[1:], {"missing": 1}),
        ((*STORED, STORED[0]), {"duplicate": 1}),
        ((STORED[0] | {"quote_volume": "1000.0000000000000001"}, *STORED[1:]), {"mismatch": 1}),
        ((STORED[0] | {"quote_volume": "much"}, *STORED[1:]), {"mismatch": 1}),
        ((STORED[0] | {"trades": 8}, *STORED[1:]), {"mismatch": 1}),
        ((STORED[0] | {"symbol_id": "spot:XRPETH"}, *STORED[1:]), {"mismatch": 1}),
        ((STORED[0] | {"symbol_id": None}, *STORED[1:]), {"mismatch": 1}),
        ((STORED[0] | {"hour_id": "spot:BTCUSDT:2024-08-08T10"}, *STORED[1:]), {"missing": 1, "mismatch": 1}),
    ],
    ids=["deleted", "doubled", "altered", "unreadable", "miscounted", "moved", "orphaned", "shifted"],
)
def test_one_wrong_hour_is_found(hours: tuple[dict[str, Any], ...], expected: dict[str, int]) -> None:
    assert faults(checked(*hours)) == expected


def test_an_hour_that_retention_removed_is_expired() -> None:
    result = checked(removed=frozenset({"2024-08-08"}))

    assert (faults(result), result.expired) == ({}, 3)
