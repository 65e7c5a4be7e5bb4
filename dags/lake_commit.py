"""Commit the lake's `ingest` branch.

What: commits what the streaming job wrote since the last commit, with Kafka offset ranges and row counts as metadata.
Why: a commit is what a nightly batch, a notebook or a rollback can name; offsets in it tell which events it holds.
When: every two minutes. A run that finds nothing new is skipped, and a second run changes nothing.
Prerequisites: `tickhouse up --profile core`; the stream writes batches (`stream_trades`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task

from tickhouse.nightly.assets import INGEST


@dag(
    schedule=timedelta(minutes=2),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["tickhouse", "lake", "lakefs"],
    default_args={"retries": 3, "retry_delay": timedelta(seconds=10)},
)
def lake_commit() -> None:
    """Commit `ingest`."""

    @task(outlets=[INGEST])
    def commit() -> dict[str, object]:
        """Commit and return what the commit names."""
        from dataclasses import asdict

        from airflow.sdk.exceptions import AirflowSkipException

        from tickhouse.lake.commit import commit_ingest
        from tickhouse.settings import load_settings

        made = commit_ingest(load_settings())
        if made is None:
            raise AirflowSkipException("Nothing new on ingest since the last commit.")
        return asdict(made)

    commit()


lake_commit()
