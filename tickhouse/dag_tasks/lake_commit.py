"""The task of DAG `lake_commit`."""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk.exceptions import AirflowSkipException

from common.settings import load_settings
from tickhouse.dag_tasks.assets import INGEST
from tickhouse.dag_tasks.links import LakeCommitLink, commit_url
from tickhouse.dag_tasks.run_report import RunReport, short
from tickhouse.lake.ingest_commit import LakeCommit, commit_ingest


def commit() -> dict[str, object]:
    """Commit branch `ingest`; return the commit id, the offset ranges and the row counts.

    Raises:
        AirflowSkipException: Nothing was written since the last commit.
        StoreUnavailable: The lake does not answer.
    """
    settings = load_settings()
    report = RunReport.current(settings)
    committed = commit_ingest(settings)
    if committed is None:
        text = "Branch ingest has nothing new since its last commit."
        report.note(text)
        raise AirflowSkipException(text)
    report.link(LakeCommitLink.name, commit_url(settings, committed.commit_id))
    report.changed(INGEST, committed.commit_id, rows=dict(committed.rows))
    report.note(note_of(committed))
    return asdict(committed)


def note_of(committed: LakeCommit) -> str:
    """Return the note of a run (pure)."""
    rows = ", ".join(f"{count:,} of {topic}" for topic, count in sorted(committed.rows.items()))
    manifests = f"{len(committed.manifests)} manifests"
    return f"Committed branch ingest as {short(committed.commit_id)}: rows {rows}, named by {manifests}."
