"""The API on real PostgreSQL, Redis and lakeFS, with trades that the streaming sinks wrote."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.principals import KEY_HEADER
from common.clients.lakefs import repository
from common.settings import REPO, Settings, load_settings
from spark.streaming.candle_sink import CandleStore
from spark.streaming.partial_sums import PARTIAL_ARROW, SymbolStream, partials
from spark.streaming.queries import advance_all
from spark.streaming.redis_sink import LatestTradeStore
from tests.conftest import Stack
from tests.eventually import eventually
from tests.lakes import empty_branch
from tests.unit.spark.streaming.test_partial_sums import facts
from tests.unit.spark.trades import MINUTE_US, Trade
from tests.unit.tickhouse.read.published_lake import busy_market, publish
from tickhouse.lake.branches import commit

# 2024-08-10T00:00Z: the hours of these tests, in a market of their own.
START_US = 1_723_248_000_000_000
CHINESE = "币安测试USDT"
BRANCH = "api-tests"


@dataclass(frozen=True)
class Api:
    """A running API and a client with the key of scope `read`."""

    url: str
    settings: Settings
    client: httpx.Client

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(path, params={name.rstrip("_"): value for name, value in parameters.items()})

    def data(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return all rows of a list, page by page."""
        rows: list[dict[str, Any]] = []
        while True:
            answer = self.get(path, **parameters)
            assert answer.status_code == 200, answer.text
            rows += answer.json()["data"]
            if answer.json()["next"] is None:
                return rows
            parameters["cursor"] = answer.json()["next"]


def market() -> list[Trade]:
    """Return trades of two days: minutes without trades, sentinels, contracts, many digits."""
    rng = random.Random(32)
    traded = []
    for market_name, symbol, price in (
        ("spot", "APIUSDT", 61_000),
        ("spot", CHINESE, 0),
        ("coinm", "APIUSD_PERP", 3_000),
    ):
        times = sorted(rng.sample(range(2 * 1440 * MINUTE_US // 1000), 900))
        traded += [
            Trade(
                number + 1,
                price="0" if number % 97 == 96 else f"{price + rng.randrange(100)}.{rng.randrange(1, 10**8):08d}",
                qty=str(rng.randrange(1, 300)) if market_name == "coinm" else f"{rng.randrange(5)}.{number + 1:08d}",
                side=rng.choice(("BUY", "SELL")),
                time_us=START_US + time * 1000,
                singles=rng.randrange(1, 4),
                symbol=symbol,
                market=market_name,
            )
            for number, time in enumerate(times)
        ]
    return traded


def write(settings: Settings, trades: list[Trade]) -> None:
    """Write trades into PostgreSQL and Redis, as one batch of the streaming queries does."""
    store = CandleStore(settings.database_dsn("stream"))
    applied = store.applied(partials(map(facts, trades), {}))
    # As Spark gives them: a minute with void trades only has no prices.
    rows = [{name: row.get(name) for name in PARTIAL_ARROW.names} for row in partials(map(facts, trades), applied)]
    store.apply([row for row in rows if row["is_fresh"]])
    store.close()
    write_latest(settings, trades)


def write_latest(settings: Settings, trades: list[Trade]) -> None:
    """Write trades into Redis, as one batch of query `last` does."""
    store = LatestTradeStore(settings.redis_dsn())
    before = store.load({SymbolStream(trade.market, trade.symbol, trade.stream) for trade in trades})
    store.store(before, advance_all(before, partials(map(facts, trades), {})))
    store.close()


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[Api]:
    """The service of the stack."""
    settings = stack.up("postgres", "redis", "lakefs", "api")
    write(settings, market())
    with opened(settings, settings.api_url) as made:
        eventually(lambda: made.get("/v1/latest", symbol=CHINESE).status_code == 200)
        yield made


@contextmanager
def opened(settings: Settings, url: str) -> Iterator[Api]:
    key = settings.api_read_key.get_secret_value()
    with httpx.Client(base_url=url, headers={KEY_HEADER: key}, timeout=60, trust_env=False) as client:
        yield Api(url, settings, client)


@contextmanager
def own_process(**environment: str) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """Run an API of its own, with other settings than the service has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "api", "--listen", f"127.0.0.1:{port}"]
    env = {**os.environ, "PYTHONPATH": str(REPO), **environment}
    with subprocess.Popen(command, env=env, cwd=REPO) as process:
        try:
            with opened(load_settings(), f"http://127.0.0.1:{port}") as made:
                eventually(lambda: is_up(made.url), timeout_s=180)
                yield made, process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def lake_commit(api: Api, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A commit with two days of candles of BTCUSDT."""
    folder: Path = tmp_path_factory.mktemp("published")
    publish(folder, busy_market())
    empty_branch(api.settings, BRANCH)
    branch = repository(api.settings).branch(BRANCH)
    for path in sorted((folder / "gold").rglob("*.parquet")):
        branch.object(str(path.relative_to(folder))).upload(path.read_bytes(), mode="wb")
    return commit(api.settings, BRANCH, "candles of the API's tests", {})
