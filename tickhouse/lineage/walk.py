"""Walk from data back to what it was made from, and from an event on to what was made with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from lakefs.models import Commit

from common.clients.lakefs import lake_errors, repository
from common.errors import ConfigurationError, UnknownName
from common.settings import Settings
from tickhouse.checks.explain.event import explain
from tickhouse.lineage.events import read_runs
from tickhouse.lineage.runs import BRONZE, BUILD_JOB, BUILT, INGEST_JOB, LineageDataset, LineageRun, ingest_run

# Commits that are looked through for one that a run made: a rollback and the like in between.
MOST_COMMITS = 100


@dataclass
class LineageNode:
    """Data, the run that made it, and what that run read.

    Attributes:
        data: The data.
        run: None when no recorded run wrote it.
        parents: What the run read (walking back), or what was made from it (walking on).
    """

    data: LineageDataset
    run: LineageRun | None = None
    parents: list[LineageNode] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the tree as JSON-ready values."""
        made_by = self.run and {
            "job": self.run.job,
            "run_id": self.run.run_id,
            "at": self.run.at.isoformat(),
            "days": str(self.run.days) if self.run.days else None,
        }
        offsets = {partition: list(span) for partition, span in self.data.offsets.items()}
        return {
            **{"namespace": self.data.namespace, "name": self.data.name, "version": self.data.version or None},
            **({"offsets": offsets} if offsets else {}),
            "made_by": made_by,
            "from": [parent.document() for parent in self.parents],
        }


@dataclass(frozen=True)
class EventLineage:
    """Where an event came in, and which runs made data with it.

    Attributes:
        event_id: The event.
        place: Topic, partition and offset; None when it is not in the lake.
        commit_id: The commit of `ingest` that has it first; empty when it is not committed.
        runs: Oldest first: the commit, the builds that read it, and what was made from those.
    """

    event_id: str
    place: dict[str, Any] | None
    commit_id: str
    runs: tuple[LineageRun, ...] = ()


def table_lineage(settings: Settings, table: str, ref: str) -> LineageNode:
    """Return what a table at a reference was made from, down to offsets of Kafka.

    Args:
        settings: Addresses.
        table: `gold/candles_1d`, or `candles_1d` alone.
        ref: Branch, tag or commit of the lake.

    Raises:
        UnknownName: There is no such table.
        ConfigurationError: There is no such reference, or no recorded run made it.
        StoreUnavailable: The lake does not answer.
    """
    name = _folder_of(table)
    runs = read_runs(settings.home)
    made = {data.key for run in runs for data in run.outputs}
    for commit in _commits(settings, ref):
        run = _from_commit(settings, commit)
        if (name, commit.id) in made or (run and any(data.name == name for data in run.outputs)):
            return trace(runs if run is None else [run, *runs], LineageDataset("", name, str(commit.id)))
    raise ConfigurationError(
        f"No recorded run made {name} at {ref}.",
        safe="Runs of earlier versions were not recorded, and old records are removed.",
        next_command=f"tickhouse lake log {ref}",
    )


def _folder_of(table: str) -> str:
    known = [*BUILT, *BRONZE]
    found = next((name for name in known if table in (name, name.partition("/")[2])), None)
    if found is None:
        raise UnknownName(f"There is no table {table!r}. The tables: {', '.join(known)}.")
    return found


def _commits(settings: Settings, ref: str) -> Iterator[Commit]:
    with lake_errors(settings):
        yield from repository(settings).ref(ref).log(max_amount=MOST_COMMITS, first_parent=True)


def _from_commit(settings: Settings, commit: Commit) -> LineageRun | None:
    """Return the run of a commit of `ingest`, whose metadata says what it read."""
    offsets = json.loads((commit.metadata or {}).get("kafka_offsets", "{}"))
    made_at = datetime.fromtimestamp(commit.creation_date, UTC)
    return ingest_run(settings, str(commit.id), offsets, made_at) if offsets else None


def trace(runs: Sequence[LineageRun], data: LineageDataset) -> LineageNode:
    """Return what data was made from (pure)."""
    by_output = {out.key: (run, out) for run in runs for out in run.outputs}

    def node(wanted: LineageDataset, seen: frozenset[tuple[str, str]]) -> LineageNode:
        run, found = by_output.get(wanted.key, (None, wanted))
        if run is None or wanted.key in seen:
            return LineageNode(found)
        read = _all_until(runs, run) if run.job == INGEST_JOB else _read_for(run, found)
        return LineageNode(found, run, [node(one, seen | {wanted.key}) for one in read])

    return node(data, frozenset())


def _read_for(run: LineageRun, output: LineageDataset) -> Sequence[LineageDataset]:
    """Return the inputs of one output: a run that copies tables makes each from its namesake."""
    same = [one for one in run.inputs if _last_name(one) == _last_name(output)]
    return same or run.inputs


def _last_name(data: LineageDataset) -> str:
    return data.name.rpartition("/")[2].rpartition(".")[2]


def _all_until(runs: Sequence[LineageRun], last: LineageRun) -> list[LineageDataset]:
    """Return the topics with the offsets that a commit of `ingest` and all before it brought."""
    spans: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    for run in (*(run for run in runs if run.job == INGEST_JOB and run.at <= last.at), last):
        for topic in run.inputs:
            held = spans.setdefault((topic.namespace, topic.name), {})
            for partition, (first, end) in topic.offsets.items():
                low, high = held.get(partition, (first, end))
                held[partition] = (min(low, first), max(high, end))
    return [LineageDataset(*topic, offsets=held) for topic, held in sorted(spans.items())]


def event_lineage(settings: Settings, event_id: str) -> EventLineage:
    """Return which runs made data with an event.

    Raises:
        ConfigurationError: The text is not an event id.
        StoreUnavailable: Kafka does not answer.
    """
    systems = explain(settings, event_id, "ingest", lambda _: None).systems
    found = next(iter(systems.get("lake") or ()), None)
    if found is None:
        return EventLineage(event_id, None, "")
    place = {name: found[name] for name in ("topic", "partition", "offset")}
    commit_id = (found.get("first_commit") or {}).get("commit", "")
    times = [copy["trade_time_us"] for copy in systems.get("kafka") or () if "trade_time_us" in copy]
    day = datetime.fromtimestamp(times[0] / 1e6, UTC).date() if times else None
    return EventLineage(event_id, place, commit_id, tuple(runs_with(read_runs(settings.home), commit_id, day)))


def runs_with(runs: Sequence[LineageRun], commit_id: str, day: date | None) -> Iterator[LineageRun]:
    """Yield the runs that used a commit of `ingest`, oldest first (pure).

    Args:
        runs: All runs, oldest first.
        commit_id: The commit that has an event first. Every later commit of `ingest` has it too.
        day: The day of the event, which a build must have built to have used it; None for any.
    """
    has_event: set[tuple[str, str]] = set()
    for run in runs:
        if run.job == INGEST_JOB:
            is_first = run.outputs[0].version == commit_id
            if is_first:
                yield run
            if is_first or has_event:
                has_event |= {out.key for out in run.outputs}
        elif any(one.key in has_event for one in run.inputs) and _may_use(run, day):
            yield run
            has_event |= {out.key for out in run.outputs}


def _may_use(run: LineageRun, day: date | None) -> bool:
    return run.job != BUILD_JOB or day is None or run.days is None or day in run.days
