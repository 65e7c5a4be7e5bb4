"""Kill each store of profile sinks, Connect and the registry while trades flow.

Afterwards every store must hold every trade once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from stack.engine import supervisor
from tests.eventually import eventually
from tests.faults.processes import answers, kill_program
from tests.integration.sinks.conftest import Sinks, wrong
from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade
from tickhouse.connectors.files import read

pytestmark = pytest.mark.faults

STORES = ("mongodb", "elasticsearch", "cassandra")
# Five batches per second: enough that a kill interrupts a write, few enough to compare quickly.
BATCH = 50
# Longer than every wait in the sinks; the variable sets a longer outage (CONTRIBUTING.md).
STOPPED_S = float(os.environ.get("TICKHOUSE_TEST_OUTAGE_S", "20"))


class Market:
    """Sends trades in small batches, each id once, until it is stopped."""

    def __init__(self, sinks: Sinks, symbol: str) -> None:
        self._sinks, self._key = sinks, CheckedStream("spot", symbol, "aggTrade")
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

    def _trade(self, number: int) -> CheckedTrade:
        return trade(8_000_000_000 + number, key=self._key, time_us=START_US + number * 1013, price=10**12 + number)


def letters(sinks: Sinks) -> dict[str, int]:
    return {connector: len(sinks.dead_letters(connector)) for connector in read()}


@pytest.fixture(autouse=True)
def _right_afterwards(sinks: Sinks) -> Iterator[None]:
    """Require after each test that every store is right and no dead letter was added."""
    before = letters(sinks)
    yield
    assert wrong(sinks.reconcile(wait_s=240)) == {}
    assert letters(sinks) == before


def until_read(market: Market, sent: int) -> Callable[[], bool]:
    return lambda: market.sent >= sent


def test_killed_stores_get_every_trade_after_a_long_outage(sinks: Sinks) -> None:
    market = Market(sinks, "BTCUSDT")
    with market.open():
        for store in STORES:
            wanted = market.sent + 2 * BATCH
            eventually(until_read(market, wanted), timeout_s=60)
            kill_program(store, with_children=True)
        supervisor.stop(STORES)  # else the supervisor restarts them
        threading.Event().wait(STOPPED_S)
        for store in STORES:
            supervisor.start(store)
        for store in STORES:
            eventually(lambda store=store: answers(store), timeout_s=180, every_s=1)


def test_killing_connect_and_the_registry_loses_and_repeats_nothing(sinks: Sinks) -> None:
    market = Market(sinks, "ETHUSDT")
    with market.open():
        eventually(until_read(market, 2 * BATCH), timeout_s=60)
        # Both are killed: the new worker has no schema in memory and must wait for the registry.
        kill_program("registry")
        supervisor.stop(["registry"])  # else the supervisor restarts it
        kill_program("connect")
        eventually(lambda: answers("connect"), timeout_s=180, every_s=1)
        eventually(until_read(market, market.sent + 2 * BATCH), timeout_s=60)
        threading.Event().wait(STOPPED_S)
        supervisor.start("registry")
        eventually(lambda: answers("registry"), timeout_s=180, every_s=1)
        supervisor.stop(["connect"])
        threading.Event().wait(STOPPED_S)
        supervisor.start("connect")
        eventually(lambda: answers("connect"), timeout_s=180, every_s=1)
