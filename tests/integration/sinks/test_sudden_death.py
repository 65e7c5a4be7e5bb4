"""Kill each store of profile sinks, Connect and the registry while trades flow; every store is right afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from stack.engine import supervise
from tests.eventually import eventually
from tests.faults.victims import answers, kill_program
from tests.integration.sinks.conftest import Sinks, wrong
from tests.unit.reconcile.samples import START_US, trade
from tickhouse.connectors.files import read
from tickhouse.reconcile.model import StreamKey, Trade

pytestmark = pytest.mark.faults

STORES = ("mongodb", "elasticsearch", "cassandra")
# Five batches a second: enough to be mid-write whenever something dies, few enough to weigh quickly.
BATCH = 50
# Longer than every wait in the sinks; by hand as long as anyone likes (CONTRIBUTING.md).
STOPPED_S = float(os.environ.get("TICKHOUSE_TEST_OUTAGE_S", "20"))


class Market:
    """Sends trades in small batches until it is told to end, each id once."""

    def __init__(self, sinks: Sinks, symbol: str) -> None:
        self._sinks, self._key = sinks, StreamKey("spot", symbol, "aggTrade")
        self.sent = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Send until the block ends."""
        closing = threading.Event()

        def loop() -> None:
            while not closing.wait(0.2):
                self.send()

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            closing.set()
            thread.join()

    def send(self) -> None:
        """Send the next batch to both topics."""
        batch = [self._trade(number) for number in range(self.sent, self.sent + BATCH)]
        self._sinks.seeder.kafka("crypto.trades", batch, self._sinks.seeder.trade_value)
        self._sinks.seeder.kafka("crypto.trades.enriched", batch, self._sinks.seeder.enriched_value)
        self._sinks.seeder.flush()
        self.sent += BATCH

    def _trade(self, number: int) -> Trade:
        return trade(8_000_000_000 + number, key=self._key, time_us=START_US + number * 1013, price=10**12 + number)


def letters(sinks: Sinks) -> dict[str, int]:
    return {connector: len(sinks.dead_letters(connector)) for connector in read()}


@pytest.fixture(autouse=True)
def _right_afterwards(sinks: Sinks) -> Iterator[None]:
    """Require after each test that every store is right and no record was called bad."""
    before = letters(sinks)
    yield
    assert wrong(sinks.reconcile(wait_s=240)) == {}
    assert letters(sinks) == before


def until_read(market: Market, sent: int) -> Callable[[], bool]:
    return lambda: market.sent >= sent


def test_killed_stores_that_stay_away_get_everything_afterwards(sinks: Sinks) -> None:
    market = Market(sinks, "BTCUSDT")
    with market.open():
        for store in STORES:
            wanted = market.sent + 2 * BATCH
            eventually(until_read(market, wanted), timeout_s=60)
            kill_program(store, with_children=True)
        supervise.stop(STORES)  # they were about to be started again
        threading.Event().wait(STOPPED_S)
        for store in STORES:
            supervise.start(store)
        for store in STORES:
            eventually(lambda store=store: answers(store), timeout_s=180, every_s=1)


def test_killed_and_stopped_connect_and_registry_lose_and_double_nothing(sinks: Sinks) -> None:
    market = Market(sinks, "ETHUSDT")
    with market.open():
        eventually(until_read(market, 2 * BATCH), timeout_s=60)
        # Both: the new worker knows no schema and must wait for the registry that has to start again.
        kill_program("registry")
        supervise.stop(["registry"])  # it was about to be started again
        kill_program("connect")
        eventually(lambda: answers("connect"), timeout_s=180, every_s=1)
        eventually(until_read(market, market.sent + 2 * BATCH), timeout_s=60)
        threading.Event().wait(STOPPED_S)
        supervise.start("registry")
        eventually(lambda: answers("registry"), timeout_s=180, every_s=1)
        supervise.stop(["connect"])
        threading.Event().wait(STOPPED_S)
        supervise.start("connect")
        eventually(lambda: answers("connect"), timeout_s=180, every_s=1)
