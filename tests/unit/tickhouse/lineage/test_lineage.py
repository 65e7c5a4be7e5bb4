"""Runs as OpenLineage events and back, and the ways through them."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from openlineage.client.serde import Serde

from common.days import Days
from common.settings import Settings, load_settings
from tickhouse.lineage import events
from tickhouse.lineage.picture import mermaid
from tickhouse.lineage.runs import (
    BRONZE,
    BUILT,
    LineageDataset,
    LineageRun,
    build_run,
    graph_run,
    ingest_run,
    lake_dataset,
    load_run,
    publish_run,
)
from tickhouse.lineage.walk import LineageNode, runs_with, trace
from tickhouse.read.lake_tables import TABLES

THE_8TH = Days(date(2024, 8, 8), date(2024, 8, 8))
THE_9TH = Days(date(2024, 8, 9), date(2024, 8, 9))
START = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    return load_settings()


def ingested(settings: Settings, number: int, first: int, end: int) -> LineageRun:
    spans = {"crypto.trades": {"0": [first, end]}}
    return ingest_run(settings, f"ingest{number}", spans, START + timedelta(minutes=number))


@pytest.fixture
def history(settings: Settings) -> list[LineageRun]:
    """Three commits of `ingest`; the first two are built and published as the 8th."""
    return [
        ingested(settings, 1, 0, 50),
        ingested(settings, 2, 50, 80),
        build_run(settings, "ingest2", "built", THE_8TH),
        publish_run(settings, "built", "merge", THE_8TH),
        load_run(settings, "merge", ["candles_1d", "monthly"]),
        graph_run(settings, "merge", ["gold/candles_1h"]),
        ingested(settings, 3, 80, 90),
    ]


def test_every_table_of_the_lake_is_known() -> None:
    assert {table.folder for table in TABLES.values()} == set(BUILT)


def test_a_run_survives_the_way_through_a_file(settings: Settings, history: list[LineageRun]) -> None:
    for run in history:
        events.record(settings, run)

    found = {run.run_id: run for run in events.read_runs(settings.home)}

    assert found == {run.run_id: run for run in history}
    offsets = [dict(found[run.run_id].inputs[0].offsets) for run in history[:2]]
    assert offsets == [{"0": [0, 50]}, {"0": [50, 80]}]


def test_a_repeated_step_is_one_run_and_a_torn_line_is_skipped(settings: Settings) -> None:
    run = ingested(settings, 1, 0, 50)
    events.record(settings, run)
    path = next(events.folder(settings.home).iterdir())
    with path.open("a") as file:
        file.write(path.read_text()[:100] + "\n")
    events.record(settings, run)

    assert [one.run_id for one in events.read_runs(settings.home)] == [run.run_id]
    assert ingested(settings, 2, 50, 80).run_id != run.run_id


def test_an_event_is_as_the_standard_has_it(history: list[LineageRun]) -> None:
    document = json.loads(Serde.to_json(events.event_of(history[2])))

    assert document["eventType"] == "COMPLETE"
    assert document["job"] == {"namespace": "tickhouse", "name": "nightly_batch.build", "facets": {}}
    assert document["run"]["facets"]["nominalTime"]["nominalEndTime"] == "2024-08-09T00:00:00Z"
    (read,) = document["inputs"]
    assert (read["namespace"], read["name"]) == ("lakefs://lake", "bronze/trades")
    assert read["facets"]["version"]["datasetVersion"] == "ingest2"


class Collector(http.server.BaseHTTPRequestHandler):
    received: list[tuple[str, dict[str, object]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, json.loads(body)))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[http.server.ThreadingHTTPServer]:
    Collector.received = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_events_are_posted_as_well(settings: Settings, collector: http.server.ThreadingHTTPServer) -> None:
    run = ingested(settings, 1, 0, 50)

    events.record(settings.model_copy(update={"lineage_url": f"http://127.0.0.1:{collector.server_port}"}), run)

    ((path, document),) = Collector.received
    assert path == "/api/v1/lineage"
    assert events.run_of(document) == run


def test_work_that_is_done_does_not_fail_for_its_event(settings: Settings) -> None:
    run = ingested(settings, 1, 0, 50)
    events.record(settings.model_copy(update={"lineage_url": "http://127.0.0.1:1"}), run)
    assert events.read_runs(settings.home) == [run]

    events.folder(settings.home).rename(settings.home / "elsewhere")
    events.folder(settings.home).write_text("not a folder")
    events.record(settings, run)


def chain(node: LineageNode) -> list[str]:
    """Return the jobs from data back to Kafka, along the first input of each."""
    return [] if node.run is None else [node.run.job, *chain(node.parents[0])]


def test_a_table_is_traced_back_to_all_offsets_that_bronze_holds(settings: Settings, history: list[LineageRun]) -> None:
    node = trace(history, lake_dataset(settings, "gold/candles_1d", "merge"))

    assert chain(node) == ["nightly_batch.publish", "nightly_batch.build", "lake_commit"]
    (published,) = node.parents
    assert published.data == lake_dataset(settings, "gold/candles_1d", "built")
    ((bronze,),) = [one.parents for one in node.parents]
    (topic,) = bronze.parents
    assert (topic.data.name, topic.data.offsets) == ("crypto.trades", {"0": (0, 80)})

    postgres = trace(history, LineageDataset("", "tickhouse.gold.candles_1d", "merge"))
    assert [one.data.name for one in postgres.parents] == ["gold/candles_1d"]
    assert chain(postgres)[0] == "nightly_batch.load"


def test_the_picture_leads_from_the_offsets_to_the_table(settings: Settings, history: list[LineageRun]) -> None:
    lines = mermaid(trace(history, lake_dataset(settings, "gold/candles_1d", "merge"))).splitlines()
    labels = dict(re.findall(r'(n\d+)\(?\["([^"]*)"\]\)?$', "\n".join(lines), re.MULTILINE))
    arrows = dict(line.split(" --> ") for line in map(str.strip, lines) if "-->" in line)

    assert lines[0] == "flowchart LR"
    (at,) = (name for name, text in labels.items() if text == "crypto.trades<br>1 partitions, 80 offsets")
    path = [labels[at].partition("<br>")[0]]
    while at in arrows:
        at = arrows[at]
        path.append(labels[at].partition("<br>")[0])
    jobs = ["lake_commit", "nightly_batch.build", "nightly_batch.publish"]
    assert path[1::2] == jobs
    assert [path[0], *path[2::2]] == ["crypto.trades", path[2], "gold/candles_1d", "gold/candles_1d"]
    assert path[2].startswith("bronze/")
    assert len(set(lines)) == len(lines)


def test_a_label_of_the_picture_cannot_end_early() -> None:
    assert mermaid(LineageNode(LineageDataset("", 'a"]; b', "c"))).count('"') == 2


def test_data_of_no_recorded_run_is_told_without_one(history: list[LineageRun], settings: Settings) -> None:
    assert trace(history, lake_dataset(settings, "gold/candles_1d", "other")).run is None
    assert trace([], lake_dataset(settings, BRONZE[0], "ingest1")).parents == []


def test_an_event_is_followed_through_every_run_that_used_it(history: list[LineageRun]) -> None:
    jobs = [run.job for run in runs_with(history, "ingest1", THE_8TH.first)]
    assert jobs == ["lake_commit", "nightly_batch.build", "nightly_batch.publish", "nightly_batch.load", "graph_sync"]

    assert [run.job for run in runs_with(history, "ingest1", THE_9TH.first)] == ["lake_commit"]
    assert [run.job for run in runs_with(history, "ingest3", THE_8TH.first)] == ["lake_commit"]
    assert list(runs_with(history, "unknown", THE_8TH.first)) == []
