"""InfluxDB as it is started here: tokens, buckets, tasks, and data after a kill and a stop."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from common.clients import influxdb
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import REPO, Settings
from spark.streaming.series_sink import SeriesStore
from spark.streaming.store_retry import retry_until_up
from stack.engine import supervisor
from stack.engine.lifecycle import catalog, context_of
from stack.influxdb.setup import create_admin, kept_seconds, provision
from tests.eventually import eventually
from tests.faults.processes import answers, kill_program
from tests.integration.influxdb.conftest import SeriesBench, points_of_trades
from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.checks.reconcile.model import CheckedTrade

pytestmark = pytest.mark.integration


def burst(count: int, first: int = 0) -> list[CheckedTrade]:
    """Return trades that come a hundred per millisecond, so that many share a microsecond."""
    return [
        trade(10_000_000 + number, time_us=START_US + number // 100 * 1000, side="SELL" if number % 3 else "BUY")
        for number in range(first, first + count)
    ]


def test_the_setup_may_run_again_and_keeps_tokens_buckets_and_tasks(settings: Settings) -> None:
    file = influxdb.tokens_file(settings)
    before, context = json.loads(file.read_text()), context_of(catalog()["influxdb"])
    create_admin(context)
    provision(context)

    assert json.loads(file.read_text()) == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with influxdb.connected(settings, "admin") as client:
        tasks = client.tasks_api().find_tasks()
        tokens = client.authorizations_api().find_authorizations()
    assert kept_by_server(settings) == kept_seconds()
    assert sorted((task.name, task.every, task.status) for task in tasks) == [
        ("trades_1m", "30s", "active"),
        ("trades_1s", "10s", "active"),
    ]
    assert len([one for one in tokens if one.description.startswith("tickhouse_")]) == 2


@pytest.mark.parametrize("days", [1, 30, 1000])
def test_a_changed_retention_is_applied(settings: Settings, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    context, declared = context_of(catalog()["influxdb"]), kept_seconds()
    monkeypatch.setattr("stack.influxdb.setup.kept_seconds", lambda: declared | {influxdb.MINUTES: days * 86_400})
    provision(context)
    changed = kept_by_server(settings)
    monkeypatch.undo()
    provision(context)

    assert changed == declared | {influxdb.MINUTES: days * 86_400}
    assert kept_by_server(settings) == declared


def kept_by_server(settings: Settings) -> dict[str, int]:
    with influxdb.connected(settings, "reader") as client:
        buckets = [client.buckets_api().find_bucket_by_name(name) for name in influxdb.BUCKETS]
    return {bucket.name: sum(rule.every_seconds for rule in bucket.retention_rules) for bucket in buckets}


def test_a_changed_task_is_made_equal_to_its_file(settings: Settings) -> None:
    with influxdb.connected(settings, "admin") as client:
        (task,) = client.tasks_api().find_tasks(name=influxdb.SECONDS)
        text = task.flux
        task.flux, task.status, task.every = text.replace("every: 10s", "every: 3h"), "inactive", None
        client.tasks_api().update_task(task)
        provision(context_of(catalog()["influxdb"]))
        (found,) = client.tasks_api().find_tasks(name=influxdb.SECONDS)

    assert (found.flux.strip(), found.status) == (text.strip(), "active")


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except (StoreUnavailable, ConfigurationError) as error:
        return any(word in str(error).lower() for word in ("unauthorized", "forbidden", "insufficient", "permission"))
    return False


def test_each_token_may_do_its_job_only(bench: SeriesBench) -> None:
    from influxdb_client.client.write_api import SYNCHRONOUS

    def write(role: str, bucket: str) -> None:
        with influxdb.connected(bench.settings, role) as client:
            client.write_api(write_options=SYNCHRONOUS).write(bucket, record="x v=1 1", write_precision="ns")

    def make_bucket(role: str) -> None:
        with influxdb.connected(bench.settings, role) as client:
            client.buckets_api().create_bucket(bucket_name="another")

    assert all(refused(lambda bucket=bucket: write("reader", bucket)) for bucket in influxdb.BUCKETS)
    assert refused(lambda: write("writer", "_tasks"))
    assert all(refused(lambda role=role: make_bucket(role)) for role in ("reader", "writer"))
    assert bench.flux(f'from(bucket: "{influxdb.TRADES}") |> range(start: 0)') == []


@pytest.mark.parametrize("role", ["admin", "writer", "reader"])
def test_a_wrong_token_is_refused_and_the_batch_waits(settings: Settings, role: str) -> None:
    wrong = settings.model_copy(update={f"influxdb_{role}_token": SecretStr("another token")})

    with pytest.raises(StoreUnavailable, match="unauthorized"), influxdb.connected(wrong, role) as client:
        [*influxdb.rows_of(client, "buckets()")]


def test_there_is_no_page_and_no_profile_without_a_token(settings: Settings) -> None:
    with httpx.Client(base_url=settings.influxdb_url, trust_env=False) as client:
        assert client.get("/").status_code == 404
        assert client.get("/debug/pprof/").status_code == 403
        assert client.get("/api/v2/buckets").status_code == 401
        assert client.get("/query", params={"db": "trades", "q": "SELECT * FROM trade"}).status_code == 401


def test_a_query_opens_no_address_of_this_machine(bench: SeriesBench) -> None:
    query = f'import "experimental/http" http.get(url: "{bench.settings.influxdb_url}/health")'
    assert refused_or_failed(lambda: bench.flux(query))
    path = REPO / "README.md"
    assert refused_or_failed(lambda: bench.flux(f'import "csv" csv.from(file: "{path}")'))


def refused_or_failed(call: Callable[[], object]) -> bool:
    try:
        call()
    except (ConfigurationError, StoreUnavailable):
        return True
    return False


def test_no_secret_is_on_a_command_line(settings: Settings) -> None:
    pid = supervisor.state("influxdb").pid
    command = Path(f"/proc/{pid}/cmdline").read_text()

    assert "influxd" in command
    for secret in (settings.influxdb_admin_token, settings.influxdb_admin_password):
        assert secret.get_secret_value() not in command


def test_a_kill_in_the_middle_of_writes_loses_nothing(bench: SeriesBench) -> None:
    batches = [burst(5_000, first=number * 5_000) for number in range(8)]
    killed: list[int] = []

    def write_all() -> None:
        store = SeriesStore(bench.settings)
        for number, batch in enumerate(batches):
            if number == 3:
                started.set()
            retry_until_up(
                lambda batch=batch: store.write(points_of_trades(batch)), query="series", stop=threading.Event()
            )

    started = threading.Event()
    writer = threading.Thread(target=write_all)
    writer.start()
    assert started.wait(120)
    killed.append(kill_program("influxdb"))
    writer.join(300)

    assert not writer.is_alive()
    assert supervisor.state("influxdb").pid not in (None, killed[0])
    result = bench.compare([one for batch in batches for one in batch])
    assert (result.faults, result.count) == ({"missing": 0, "duplicate": 0, "mismatch": 0}, 40_000)


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.long)])
def test_a_batch_waits_while_the_server_is_stopped(bench: SeriesBench, seconds: int) -> None:
    store, batch = SeriesStore(bench.settings), burst(2_000)
    bench.write(batch[:1000], store)
    supervisor.stop(["influxdb"])
    waited = threading.Event()
    writer = threading.Thread(
        target=lambda: retry_until_up(
            lambda: store.write(points_of_trades(batch)), query="series", stop=threading.Event()
        )
    )
    writer.start()
    assert not waited.wait(seconds)
    assert writer.is_alive()
    supervisor.start("influxdb")
    eventually(lambda: answers("influxdb"), timeout_s=240, every_s=1)
    writer.join(300)

    assert not writer.is_alive()
    assert bench.compare(batch).ok
