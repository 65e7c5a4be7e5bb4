"""The tasks of DAG `lake_rollback`."""

from __future__ import annotations

from typing import Any

from common.settings import load_settings
from tickhouse.dag_tasks import daily_tables
from tickhouse.dag_tasks.data_quality import audit_tables
from tickhouse.lake.rollback import rollback


def move(params: dict[str, Any]) -> str:
    """Bring `main` back to parameter `to`; return the id of the new commit."""
    return rollback(load_settings(), params["to"])


def load(commit_id: str) -> dict[str, int]:
    """Make PostgreSQL's daily tables equal to a commit.

    Return the number of changed rows per table.
    """
    return daily_tables.load(load_settings(), commit_id)


def verify(commit_id: str) -> dict[str, Any]:
    """Audit the daily tables against a commit; return the report.

    Raises:
        AuditFailed: A table differs from the commit.
    """
    return audit_tables(load_settings(), commit_id).document()
