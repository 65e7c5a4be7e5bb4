"""A live run: spot and USD-M together, 60 symbols, three faults; every look at `status` is true.

`TICKHOUSE_LIVE_RUN_S` is how long the markets play, 30 minutes by default.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from common.live_job import MARKETS
from common.settings import REPO, Settings
from common.topics import TRADES
from producer.encoding.events import decode
from stack.engine import supervisor
from standins.exchange.oracle import MarketOracle
from tests.conftest import Stack
from tests.e2e.lakehouse import assert_conserved, await_stream, tickhouse, topic_log, until
from tests.faults.processes import answers, kill_program
from tests.integration.exchange.conftest import ExchangeProcess
from tests.ports import free_port
from tickhouse.live.status import IS_WELL, job_status

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(7200)]

RUN_S = int(os.environ.get("TICKHOUSE_LIVE_RUN_S", "1800"))
SYMBOLS = 30  # per market
TRADES_PER_S = 50  # per market
LOOK_EVERY_S = 2.0
# A start of the producer reads the ledger and the end of the log first.
BACK_S = 120.0
RUN_MARKETS = ("spot", "usdm")


def symbols() -> list[dict[str, Any]]:
    """Return symbols whose trades are as uneven as those of a real market."""
    return [
        {
            **{"symbol": f"L{number:02d}USDT", "base": f"L{number:02d}", "quote": "USDT", "price": f"{10 + number}.50"},
            **{"tick": "0.01", "step": "0.001", "lot": 3000, "weight": max(1, 400 // (number + 1))},
        }
        for number in range(SYMBOLS)
    ]


def config(market: str) -> dict[str, Any]:
    events = max(4 * SYMBOLS + 20, TRADES_PER_S * RUN_S)
    return {
        "market": {
            **{"seed": MARKETS.index(market) + 1, "market": market, "symbols": symbols(), "silent_minutes": {}},
            **{"length_s": RUN_S, "events": events, "bursts": [], "huge_quantities": 0},
        },
        "playback": {"speed": 1, "start": "subscription", "start_after_s": 5, "live_times": True},
        "websocket": {"routed": market == "usdm"},
    }


@contextmanager
def exchange(market: str, home: Path, folder: Path) -> Iterator[ExchangeProcess]:
    """Run a local exchange that writes its record into a home."""
    file = folder / f"{market}.yaml"
    file.write_text(yaml.safe_dump(config(market)))
    address = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "TICKHOUSE_HOME": str(home), "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", "standins.exchange", "--listen", address, "--config", str(file)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "exchange on" in process.stdout.readline()
        yield ExchangeProcess(address, home, process)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@dataclass
class TruthWatch:
    """Looks at `status` again and again, and compares it with what the processes show.

    Attributes:
        looks: How many looks there were, by (market, state).
        wrong: Looks that were wrong twice in a row, with what was seen instead.
    """

    settings: Settings
    exchanges: dict[str, ExchangeProcess]
    looks: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def facts(self, market: str) -> tuple[int, bool]:
        """Return (process id of the producer, whether the exchange sees a connection)."""
        job = f"{self.settings.home}/conf/live_{market}/job.json"
        pids = [process.pid for process in psutil.process_iter() if job in _command(process)]
        return (pids[0] if pids else 0), self.exchanges[market].state()["connections"] > 0

    def _look(self, market: str) -> str:
        """Return what is wrong with one look; empty when it is true, or when all just changed."""
        before = self.facts(market)
        status = job_status(self.settings.home, market)
        self.looks[market, status.state] += 1
        well = {(True, True): "running", (True, False): "polling"}.get((before[0] > 0, before[1]))
        is_true = (status.state == well or status.state not in IS_WELL) and (status.state == "running") == all(before)
        is_true = is_true and (not before[0] or status.pid == before[0])
        changed = self.facts(market) != before
        return "" if is_true or changed else f"{market}: said {status}, was {before}"

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            for market in RUN_MARKETS:
                if self._look(market) and (problem := self._look(market)):
                    self.wrong.append(problem)

    @contextmanager
    def running(self) -> Iterator[TruthWatch]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def is_well(settings: Settings, market: str) -> bool:
    return job_status(settings.home, market).state in IS_WELL


def trade_ids(settings: Settings, market: str) -> Counter[str]:
    with topic_log(settings) as reader:
        found = (decode("trade", message.value())["event_id"] for message in reader.read(TRADES))
        return Counter(name for name in found if name.split(":")[1] == market)


def test_a_live_run_with_three_faults(stack: Stack, tmp_path: Path) -> None:
    settings = stack.up()
    await_stream(settings)
    # Spot writes its record where reconcile reads it. Of USD-M, reconcile takes Kafka's word, and
    # this test has the truth.
    with exchange("spot", settings.home, tmp_path) as spot, exchange("usdm", tmp_path / "usdm", tmp_path) as usdm:
        exchanges = {"spot": spot, "usdm": usdm}
        urls = [f"{market}=http://{exchanges[market].address}" for market in RUN_MARKETS]
        options = [part for market in RUN_MARKETS for part in ("--market", market)]
        options += [part for url in urls for part in ("--exchange-url", url)]
        started = tickhouse("live", "start", *options, "--quote", "USDT", timeout_s=300)
        assert [one["outcome"] for one in started["markets"]] == ["started", "started"]
        assert [one["estimate"]["symbols"] for one in started["markets"]] == [SYMBOLS, SYMBOLS]
        with TruthWatch(settings, exchanges).running() as watch:
            run_faults(settings, exchanges)
            for market, one in exchanges.items():
                until(f"the end of {market}", one.is_done, RUN_S + 300.0)
        truth = {trade.event_id for trade in MarketOracle.from_document(usdm.truth()).trades()}
        until("every trade of USD-M", lambda: truth <= set(trade_ids(settings, "usdm")), 120.0)
        report = tickhouse("reconcile", "--wait", "180", timeout_s=400)
        assert [one["outcome"] for one in tickhouse("live", "stop")] == ["stopped", "stopped"]

    found = trade_ids(settings, "usdm")
    looks = {" ".join(key): count for key, count in watch.looks.items()}
    summary = {"run_s": RUN_S, "offered": report["offered"], "usdm": len(found), "looks": looks, "wrong": watch.wrong}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert watch.wrong == []
    assert set(found) == truth
    assert max(found.values()) == 1
    assert_conserved(report)


def run_faults(settings: Settings, exchanges: dict[str, ExchangeProcess]) -> None:
    """Kill a producer, cut and block a market's connections, and kill Kafka: one per quarter."""
    quarter = RUN_S / 4

    def played_to(share: int) -> None:
        until(f"quarter {share}", lambda: exchanges["spot"].state()["trades_played"], 2 * RUN_S + 120.0,
              holds=lambda played: played >= share * quarter * TRADES_PER_S)  # fmt: skip

    played_to(1)
    pid = kill_program("live_spot")
    until("another producer of spot", lambda: is_well(settings, "spot"), BACK_S)
    assert supervisor.state("live_spot").pid != pid
    played_to(2)
    exchanges["usdm"].fault(kind="ws_blocked", wall_s=10)
    exchanges["usdm"].fault(kind="cut")
    until("USD-M to be connected again", lambda: is_well(settings, "usdm"), BACK_S)
    played_to(3)
    kill_program("kafka")
    until("Kafka to answer", lambda: answers("kafka"), BACK_S)
    for market in RUN_MARKETS:
        until(f"{market} after Kafka", lambda: is_well(settings, market), BACK_S)  # noqa: B023 - called at once
