"""The task of DAG `lake_commit`."""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk.exceptions import AirflowSkipException

from common.settings import load_settings
from tickhouse.lake.ingest_commit import commit_ingest


def commit() -> dict[str, object]:
    """Commit branch `ingest`; return the commit id, the offset ranges and the row counts.

    Raises:
        AirflowSkipException: Nothing was written since the last commit.
        StoreUnavailable: The lake does not answer.
    """
    committed = commit_ingest(load_settings())
    if committed is None:
        raise AirflowSkipException("Branch ingest holds nothing new since its last commit.")
    return asdict(committed)
