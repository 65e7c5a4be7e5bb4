"""Audit one commit of the lake, or the tables in PostgreSQL, and keep the report under the commit's id."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickhouse.audit import docs
from tickhouse.audit.laws import measured
from tickhouse.audit.relations import CommitRows, Relations
from tickhouse.days import Days
from tickhouse.lake.client import lake_errors, repository
from tickhouse.reconcile.lake import Bronze, Lake, connect
from tickhouse.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

TOPICS = {"trades": "crypto.trades", "ticks": "crypto.ticks"}


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a commit.

    Attributes:
        commit_id: What was audited.
        what: `lake` or `postgres`: the checkpoint.
        ok: Whether every law holds.
        url: The Data Docs.
        broken: Each broken law in a line.
    """

    commit_id: str
    what: str
    days: str
    ok: bool
    url: str
    broken: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self) | {"broken": list(self.broken)}


def audit_lake(settings: Settings, commit_id: str, days: Days) -> Report:
    """Judge the days of a commit by the checkpoint `lake`.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    lake = connect(settings, commit_id)
    bronze = {table: lake.bronze(table) for table in TOPICS}
    commits = commit_rows(_metadata(settings, commit_id), bronze)
    return judged(settings, commit_id, "lake", str(days), lake_laws(lake, days, bronze["trades"], commits))


def lake_laws(lake: Lake, days: Days, bronze: Bronze, commits: Iterable[CommitRows]) -> dict[str, pd.DataFrame]:
    """Return the tables of all laws of the checkpoint `lake`.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    from tickhouse.audit.judge import checkpoint

    with tempfile.TemporaryDirectory() as scratch:
        relations = Relations(lake, days, Path(scratch))
        relations.open(bronze, commits)
        return measured(relations.connection, checkpoint("lake"))


def judged(settings: Settings, commit_id: str, what: str, days: str, tables: dict[str, pd.DataFrame]) -> Report:
    """Judge law tables, write Data Docs and report, and return the report."""
    from tickhouse.audit.judge import judge

    name = f"{commit_id[:16]}-{what}"
    site = docs.folder(settings) / name
    broken = judge(tables, name, site)
    url = f"{settings.data_docs_url}/{name}/index.html"
    report = Report(commit_id, what, days, not broken, url, tuple(map(str, broken)))
    docs.finish(site, report.document())
    return report


def _metadata(settings: Settings, commit_id: str) -> list[dict[str, str]]:
    with lake_errors(settings):
        return [dict(made.metadata or {}) for made in repository(settings).ref(commit_id).log()]


def commit_rows(metadata: Iterable[dict[str, str]], bronze: dict[str, Bronze]) -> list[CommitRows]:
    """Return rows by the metadata of commits and by the manifests that these name (pure)."""
    rows: dict[str, int] = {}
    named: set[str] = set()
    for one in metadata:
        named |= set(json.loads(one.get("manifests", "[]")))
        for topic, count in json.loads(one.get("rows", "{}")).items():
            rows[topic] = rows.get(topic, 0) + count
    found = []
    for table, topic in TOPICS.items():
        of_table = {path for path in named if f"/_manifests/{table}/" in path}
        there = bronze[table].manifests
        total = sum(there.get(path, 0) for path in of_table)
        if of_table:
            found.append(CommitRows(topic, rows.get(topic, 0), total, len(of_table - there.keys())))
    return found


def read_report(site: Path) -> dict[str, Any]:
    """Return the report that `judged` left in a site."""
    document: dict[str, Any] = json.loads((site / docs.REPORT).read_text())
    return document
