"""Live jobs against local exchanges: two markets, a kill, a second producer, a stop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from common.live_job import job_file
from common.settings import Settings, ports
from producer.market_lease import holder
from stack.engine import supervisor
from stack.engine.lifecycle import remove_services
from tests.e2e.lakehouse import TICKHOUSE, tickhouse
from tests.eventually import eventually
from tests.faults.processes import kill_program
from tests.integration.exchange.conftest import ExchangeProcess, Start
from tests.integration.producer.conftest import Log, truth_ids
from tests.integration.producer.test_live import market
from tests.runbook.following import FollowedPage
from tickhouse.live.status import job_status
from tickhouse.metrics.targets import targets

pytestmark = pytest.mark.integration

PATIENCE_S = 120.0


@pytest.fixture(autouse=True)
def no_jobs_left(broker: Settings) -> Iterator[None]:
    yield
    for name in ("spot", "usdm", "coinm"):
        job_file(broker.home, name).unlink(missing_ok=True)
    remove_services(["live_spot", "live_usdm", "live_coinm"])


def start(*arguments: str, exit_code: int = 0, **exchanges: ExchangeProcess) -> dict[str, Any]:
    """Start jobs of some markets; return the outcome by market, or the error."""
    options = [part for name in exchanges for part in ("--market", name)]
    options += [part for name, one in exchanges.items() for part in ("--exchange-url", f"{name}=http://{one.address}")]
    document = tickhouse("live", "start", *options, *arguments, exit_code=exit_code)
    return document["error"] if exit_code else {one["market"]: one for one in document["markets"]}


def states() -> dict[str, dict[str, Any]]:
    return {one["market"]: one for one in tickhouse("live", "status")}


def usdm(**changes: Any) -> dict[str, Any]:
    return market(**changes) | {"market": {**market(**changes)["market"], "market": "usdm", "symbols": ["BTCUSDT"]}}


def test_two_markets_a_kill_and_a_stop(log: Log, broker: Settings, exchange: Start) -> None:
    playing = {"spot": exchange(market(speed=12)), "usdm": exchange(usdm(speed=12))}
    started = start("--symbols", "all", **playing)
    assert {name: one["outcome"] for name, one in started.items()} == {"spot": "started", "usdm": "started"}
    assert started["spot"]["estimate"]["symbols"] == 4
    log.await_records("crypto.trades", 200)

    pid = kill_program("live_spot")
    eventually(lambda: supervisor.state("live_spot").pid not in (0, pid), PATIENCE_S)
    again = start("--symbols", "all", **playing)
    assert {name: one["outcome"] for name, one in again.items()} == {"spot": "unchanged", "usdm": "unchanged"}
    found = states()
    assert {name: (one["state"], one["is_wanted"]) for name, one in found.items()} == {
        "spot": ("running", True),
        "usdm": ("running", True),
    }
    assert found["spot"]["pid"] == supervisor.state("live_spot").pid == holder(broker.home, "spot")
    jobs = {one["labels"]["job"]: one["targets"] for one in targets()}
    assert jobs["live_spot"] == [f"127.0.0.1:{ports()['live_spot_metrics']}"]
    assert jobs["live_usdm"] == [f"127.0.0.1:{ports()['live_usdm_metrics']}"]

    eventually(lambda: all(one.is_done() for one in playing.values()), PATIENCE_S)
    truth = truth_ids(playing["spot"]) | truth_ids(playing["usdm"])
    eventually(lambda: truth <= set(log.trade_ids()), PATIENCE_S, 1)
    assert Counter(one["outcome"] for one in tickhouse("live", "stop")) == {"stopped": 2}
    assert set(log.trade_ids()) == truth
    assert max(log.trade_ids().values()) == 1

    assert '"message":"stopped"' in supervisor.tail(supervisor.log_file("live_spot"), 1)
    assert (holder(broker.home, "spot"), states(), tickhouse("live", "stop")) == (None, {}, [])
    assert not {"live_spot", "live_usdm"} & {one["labels"]["job"] for one in targets()}


def test_a_second_producer_of_a_market_is_refused(log: Log, broker: Settings, exchange: Start) -> None:
    playing = exchange(market(speed=2))
    start("--symbols", "BTCUSDT", spot=playing)
    command = [
        sys.executable,
        "-m",
        "producer",
        "live",
        "--symbols",
        "BTCUSDT",
        "--rest-url",
        f"http://{playing.address}",
    ]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 6
    assert f"market spot runs already: process {supervisor.state('live_spot').pid}" in second.stderr

    tickhouse("live", "stop", "--market", "spot")
    addresses = ["--ws-url", f"ws://{playing.address}", "--rest-url", f"http://{playing.address}"]
    with subprocess.Popen([*command[:6], *addresses], stderr=subprocess.DEVNULL) as by_hand:
        try:
            eventually(lambda: holder(broker.home, "spot") == by_hand.pid, PATIENCE_S)
            error = start("--symbols", "BTCUSDT", exit_code=6, spot=playing)
            assert (error["type"], error["runbook"]) == ("LeaseHeld", "docs/runbook/lease-held.md")
            assert f"process {by_hand.pid}" in error["message"]
            assert not job_file(broker.home, "spot").exists()
            assert states()["spot"]["state"] == "other producer"
        finally:
            by_hand.terminate()
            assert by_hand.wait(PATIENCE_S) == 0


def test_other_symbols_restart_their_market_alone_and_are_told(log: Log, broker: Settings, exchange: Start) -> None:
    playing = {"spot": exchange(market(speed=2)), "usdm": exchange(usdm(speed=2))}
    start("--symbols", "BTCUSDT", **playing)
    before = {name: supervisor.state(f"live_{name}").pid for name in playing}

    changed = start("--symbols", "BTCUSDT,ETHUSDT", spot=playing["spot"])["spot"]
    assert (changed["outcome"], changed["differences"]) == ("restarted", ["symbols: +ETHUSDT"])
    after = {name: supervisor.state(f"live_{name}").pid for name in playing}
    assert (after["usdm"], after["spot"] == before["spot"]) == (before["usdm"], False)
    eventually(lambda: job_status(broker.home, "spot").symbols == 2, PATIENCE_S)

    dry = tickhouse("live", "start", "--market", "spot", "--symbols", "ETHUSDT", "--dry-run",
                    "--exchange-url", f"http://{playing['spot'].address}")  # fmt: skip
    assert dry["markets"][0]["differences"] == ["symbols: -BTCUSDT"]
    assert supervisor.state("live_spot").pid == after["spot"]


def test_rest_alone_takes_every_trade_without_a_connection(log: Log, broker: Settings, exchange: Start) -> None:
    playing = exchange(market(speed=40, start="client"))
    start("--symbols", "BTCUSDT,ETHUSDT", "--streams", "aggTrade", "--rest-only", spot=playing)
    eventually(playing.is_done, PATIENCE_S)
    newest = {name for name in truth_ids(playing) if name.split(":")[2] in ("BTCUSDT", "ETHUSDT")}
    last = {max((name for name in newest if symbol in name), key=lambda name: int(name.split(":")[4]))
            for symbol in ("BTCUSDT", "ETHUSDT")}  # fmt: skip
    eventually(lambda: last <= set(log.trade_ids()), PATIENCE_S, 1)

    assert states()["spot"]["state"] == "polling"
    assert playing.truth()["connections_opened"] == 0
    found = log.trade_ids()
    firsts = {
        symbol: min(int(name.split(":")[4]) for name in found if symbol in name) for symbol in ("BTCUSDT", "ETHUSDT")
    }
    assert set(found) == {name for name in newest if int(name.split(":")[4]) >= firsts[name.split(":")[2]]}
    assert max(found.values()) == 1


def test_an_exchange_that_is_away_is_told_with_exit_code_22(broker: Settings) -> None:
    error = tickhouse("live", "start", "--market", "spot", "--symbols", "all", "--exchange-url", "http://127.0.0.1:9",
                      exit_code=22)["error"]  # fmt: skip

    assert "http://127.0.0.1:9/api/v3/exchangeInfo" in error["message"]
    assert "--exchange-url" in error["next"]
    assert not job_file(broker.home, "spot").exists()


@pytest.mark.runbook("live-job-down")
def test_a_job_whose_program_somebody_stopped(
    log: Log, broker: Settings, exchange: Start, followed: FollowedPage
) -> None:
    start("--symbols", "BTCUSDT", spot=exchange(market(speed=2)))
    supervisor.stop(["live_spot"])
    doctor = subprocess.run([TICKHOUSE, "doctor", "--json"], capture_output=True, text=True, timeout=120, check=False)
    (finding,) = [one for one in json.loads(doctor.stdout)["findings"] if one["check"] == "live job of spot"]
    assert (finding["level"], finding["runbook"]) == ("error", followed.path)
    followed.values = {"PROGRAM": "live_spot"}

    assert "stopped" in followed.check()
    followed.repair()

    eventually(lambda: job_status(broker.home, "spot").state == "running", PATIENCE_S)
