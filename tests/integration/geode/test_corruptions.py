"""Reconcile finds each kind of wrong entry in a real Geode, and nothing when it is right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common.clients.geode import MINUTES, STATISTICS, Geode
from common.settings import Settings
from tests.conftest import Stack
from tests.unit.tickhouse.checks.reconcile.samples import BTC, ETH
from tests.unit.tickhouse.checks.reconcile.test_geode import OFFERED as TRADES
from tests.unit.tickhouse.checks.reconcile.test_geode import Entries, corrupted, faults, written
from tickhouse.checks.reconcile.bars import bars_of
from tickhouse.checks.reconcile.geode import compare, minute_key, read, statistics_key
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import COMPARE_ALL

pytestmark = pytest.mark.integration

RIGHT: dict[str, Entries] = dict(zip((STATISTICS, MINUTES), written(TRADES), strict=True))
MINUTE = minute_key(max(bars_of(TRADES).values(), key=lambda bar: (bar.key == BTC, bar.open_time_us)))
STATISTIC = statistics_key(ETH)


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up("geode")


@pytest.fixture(scope="module")
def geode(settings: Settings) -> Iterator[Geode]:
    with Geode.of(settings, "writer") as client:
        yield client
        for region in RIGHT:
            client.delete(region, client.keys(region))


def found(settings: Settings) -> dict[str, int]:
    result = StoreResult("geode")
    compare(read(settings), bars_of(TRADES), result, horizon=COMPARE_ALL)
    return faults(result)


def store(geode: Geode, region: str, entries: Entries) -> None:
    geode.delete(region, set(geode.keys(region)) - set(entries))
    geode.put_all(region, entries)


@pytest.mark.parametrize(
    ("key", "how", "expected"),
    [
        (MINUTE, "deleted", {"missing": 1}),
        (MINUTE, "doubled", {"duplicate": 1}),
        (MINUTE, "altered", {"mismatch": 1}),
        (MINUTE, "moved", {"missing": 1, "mismatch": 1}),
        (MINUTE, "shifted", {"missing": 1, "mismatch": 1}),
        (STATISTIC, "deleted", {"missing": 1}),
        (STATISTIC, "doubled", {"duplicate": 1}),
        (STATISTIC, "altered", {"mismatch": 1}),
        (STATISTIC, "moved", {"missing": 1, "mismatch": 1}),
        (STATISTIC, "shifted", {"mismatch": 1}),
    ],
)
def test_one_wrong_entry_is_found(
    settings: Settings, geode: Geode, key: str, how: str, expected: dict[str, int]
) -> None:
    for name, entries in RIGHT.items():
        store(geode, name, entries)
    assert found(settings) == {}

    region = MINUTES if key == MINUTE else STATISTICS
    store(geode, region, corrupted(RIGHT[region], key, how))

    assert found(settings) == expected
