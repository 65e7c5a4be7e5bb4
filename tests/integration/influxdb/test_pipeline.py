"""The whole pipeline with InfluxDB: the job runs its query, and a file is in every store."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.engine.lifecycle import up
from tests.e2e.archives import write_numbered_archive
from tests.e2e.lakehouse import await_stream, tickhouse, until
from tests.integration.influxdb.conftest import SeriesBench
from tests.integration.sinks.conftest import wrong
from tickhouse.stream.query_state import query_states

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(1200)]


def test_a_replayed_file_is_in_influxdb_as_in_every_other_store(bench: SeriesBench, tmp_path: Path) -> None:
    up()
    await_stream(bench.settings)
    stream = bench.settings.home / "stream"
    until("query series", lambda: {one.name: one.state for one in query_states(stream)}.get("series") == "active", 120)

    file = write_numbered_archive(tmp_path, "LTCUSDT", 1, 3_000)
    tickhouse("replay", file, "--market", "spot", timeout_s=300)
    report = tickhouse("reconcile", "--wait", "300", timeout_s=420)

    assert wrong(report) == {}
    assert report["stores"]["influxdb"]["delivered"] == 3_000
    assert {one["hash"] for name, one in report["stores"].items() if name != "redis"} == {
        report["stores"]["influxdb"]["hash"]
    }
    assert tickhouse("status")["pipeline"]["influxdb"]["points_of_last_hour"] == 0
