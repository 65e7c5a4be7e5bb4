"""Runs as OpenLineage events: written to files of the home and, if asked for, to an HTTP endpoint.

The files are `<home>/lineage/<year>-<month>.jsonl`, so that retention can remove old ones. Lineage
describes work that is done; so an event that cannot be written is logged, and fails nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from common.days import Days, midnight
from common.settings import Settings
from tickhouse.lineage.runs import LineageDataset, LineageRun

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

PRODUCER: Final = "https://github.com/tickhouse/tickhouse"
JOB_NAMESPACE: Final = "tickhouse"
# Facet of a topic; OpenLineage has none for offsets.
OFFSETS: Final = "tickhouse_kafkaOffsets"
_FIRST, _END = "nominalStartTime", "nominalEndTime"
HTTP_TIMEOUT_S = 5.0

log = structlog.get_logger("tickhouse.lineage")


def folder(home: Path) -> Path:
    """Return the folder of the events."""
    return home / "lineage"


def record(settings: Settings, run: LineageRun) -> None:
    """Write a completed run as an event; what does not accept it is logged."""
    from openlineage.client.transport.file import FileConfig, FileTransport
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    event = event_of(run)
    path = folder(settings.home) / f"{run.at:%Y-%m}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FileTransport(FileConfig(str(path), append=True)).emit(event)
        if settings.lineage_url:
            HttpTransport(HttpConfig(settings.lineage_url, timeout=HTTP_TIMEOUT_S, retry={"total": 0})).emit(event)
    except Exception as error:  # noqa: BLE001 - the work is done, whatever happened to its event
        log.warning("lineage_not_recorded", job=run.job, run=run.run_id, error=str(error))


def event_of(run: LineageRun) -> RunEvent:
    """Return a run as an event (pure)."""
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import nominal_time_run

    days = run.days
    times = days and nominal_time_run.NominalTimeRunFacet(
        _utc(midnight(days.first)), _utc(midnight(days.last + timedelta(days=1)))
    )
    return RunEvent(
        eventTime=_utc(run.at),
        eventType=RunState.COMPLETE,
        producer=PRODUCER,
        run=Run(run.run_id, facets={"nominalTime": times} if times else {}),
        job=Job(JOB_NAMESPACE, run.job),
        inputs=[InputDataset(one.namespace, one.name, facets=_facets(one)) for one in run.inputs],
        outputs=[OutputDataset(one.namespace, one.name, facets=_facets(one)) for one in run.outputs],
    )


def _facets(dataset: LineageDataset) -> dict[str, Any]:
    from openlineage.client.facet_v2 import DatasetFacet, dataset_version_dataset

    facets: dict[str, Any] = {}
    if dataset.version:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version)
    if dataset.offsets:
        spans = {partition: list(span) for partition, span in sorted(dataset.offsets.items())}
        facets[OFFSETS] = DatasetFacet().with_additional_properties(partitions=spans)
    return facets


def read_runs(home: Path) -> list[LineageRun]:
    """Return every recorded run, oldest first; a repeat counts once, a torn line not at all."""
    runs: dict[str, LineageRun] = {}
    for path in sorted(folder(home).glob("*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for run in _runs_in(lines):
                runs.setdefault(run.run_id, run)
    return sorted(runs.values(), key=lambda run: run.at)


def _runs_in(lines: Iterable[str]) -> Iterator[LineageRun]:
    for line in lines:
        try:
            yield run_of(json.loads(line))
        except (ValueError, KeyError, TypeError):
            log.warning("lineage_line_skipped", line=line[:80])


def run_of(event: Mapping[str, Any]) -> LineageRun:
    """Return the run of an event (pure).

    Raises:
        KeyError: The event has no job or no time.
        ValueError: A time is not ISO 8601.
    """
    nominal = event["run"].get("facets", {}).get("nominalTime")
    days = None
    if nominal:
        days = Days(_date(nominal[_FIRST]), _date(nominal[_END]) - timedelta(days=1))
    inputs, outputs = (tuple(map(_dataset, event.get(side, ()))) for side in ("inputs", "outputs"))
    return LineageRun(event["job"]["name"], inputs, outputs, datetime.fromisoformat(event["eventTime"]), days)


def _dataset(document: Mapping[str, Any]) -> LineageDataset:
    facets = document.get("facets", {})
    found = LineageDataset(document["namespace"], document["name"], facets.get("version", {}).get("datasetVersion", ""))
    return replace(found, offsets=facets.get(OFFSETS, {}).get("partitions", {}))


def _date(text: str) -> date:
    return datetime.fromisoformat(text).date()


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
