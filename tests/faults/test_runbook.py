"""Faults of Airflow and of the streaming queries, repaired by the pages of the runbook."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from common.clients.airflow import AirflowApi
from common.settings import Settings
from stack.engine import supervisor
from tests.conftest import Stack
from tests.e2e.archives import write_numbered_archive
from tests.e2e.lakehouse import await_stream, tickhouse, until
from tests.faults.processes import answers
from tests.runbook.following import FollowedPage

pytestmark = pytest.mark.faults

LAG = "stream:candles"


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    settings = stack.up()
    await_stream(settings)
    return settings


@pytest.fixture
def airflow(settings: Settings) -> Iterator[AirflowApi]:
    with AirflowApi(settings) as session:
        yield session


def pause(airflow: AirflowApi, dag: str) -> None:
    until(f"DAG {dag}", airflow.paused, 120.0, holds=lambda dags: dag in dags)
    airflow.pause(dag, is_paused=True)


@pytest.mark.runbook("lake-commit-old")
def test_a_lake_that_nobody_commits(airflow: AirflowApi, followed: FollowedPage) -> None:
    pause(airflow, "lake_commit")

    assert "lake_commit" in followed.check()
    followed.repair()

    assert airflow.paused()["lake_commit"] is False


@pytest.mark.runbook("audit-old")
def test_a_lake_that_nobody_audits(airflow: AirflowApi, followed: FollowedPage) -> None:
    pause(airflow, "nightly_batch")

    assert "nightly_batch" in followed.check()
    followed.repair()

    assert airflow.paused()["nightly_batch"] is False


@pytest.mark.runbook("airflow-heartbeat-old")
def test_a_process_of_airflow_that_is_silent(settings: Settings, followed: FollowedPage) -> None:
    supervisor.stop(["airflow-dag-processor"])

    followed.check()
    followed.repair()

    assert supervisor.state("airflow-dag-processor").state == "RUNNING"
    assert answers("airflow")


def lag_records() -> int:
    """Return how many records the query of the candles has not read."""
    return int(tickhouse("status")["pipeline"]["kafka"]["lag_records"][LAG])


@pytest.mark.runbook("query-slow")
def test_a_query_whose_store_is_slow(settings: Settings, followed: FollowedPage) -> None:
    with psycopg.connect(settings.database_dsn("owner")) as connection:
        connection.execute("LOCK TABLE market.trade_ranges IN ACCESS EXCLUSIVE MODE")
        file = write_numbered_archive(settings.home / "recorded", "SLOWUSDT", 1, 5_000)
        tickhouse("replay", file, "--market", "spot", "--no-wait")
        until("a lag", lag_records, 60.0)

        assert "candles" in followed.check()
    followed.repair()

    until("no lag", lag_records, 60.0, holds=lambda lag: lag == 0)
