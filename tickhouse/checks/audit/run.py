"""Audit one commit of the lake, and write the report of an audit under the commit's id."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.clients.lake_files import BronzeListing, RefFiles
from common.clients.lakefs import lake_errors, repository
from common.days import Days, day_of, midnight
from common.settings import Settings
from common.topics import TICKS, TRADES
from stack.data_docs import report_site
from tickhouse.checks.audit.exchange_klines import exchange_days
from tickhouse.checks.audit.lake_views import CommitRows, DayInputs, LakeViews
from tickhouse.checks.audit.laws import law_tables

if TYPE_CHECKING:
    import pandas as pd

LOG_PAGE = 1000
# The exchange's clock may be ahead of ours.
CLOCK_SKEW_S = 3600
RECENT_S = 8 * 86_400
TOPICS = {"trades": TRADES, "ticks": TICKS}
# Severities of Great Expectations: what stops the publication, is a warning, or only in the report.
SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of the audit of a commit.

    Attributes:
        commit_id: What was audited.
        what: The name of the checkpoint, `lake` or `postgres`.
        days: The audited days.
        ok: Whether all laws that can stop the publication hold.
        url: Address of the Data Docs.
        broken: The broken laws that stop the publication, a line each.
        warnings: The broken laws that are declared as warnings.
        notes: The broken laws that are declared as information, such as what was not compared.
    """

    commit_id: str
    what: str
    days: str
    ok: bool
    url: str
    broken: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self) | {name: list(getattr(self, name)) for name in ("broken", "warnings", "notes")}

    def summary(self) -> str:
        """Return the result in a few words: `passed`, `passed with 2 warnings`, `failed`."""
        if not self.ok:
            return "failed"
        return f"passed with {len(self.warnings)} warnings" if self.warnings else "passed"


def audit_lake(settings: Settings, commit_id: str, days: Days) -> AuditReport:
    """Check the days of a commit with the checkpoint `lake`.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    lake = RefFiles.connect(settings, commit_id)
    bronze = {table: lake.bronze(table, days) for table in TOPICS}
    commits = commit_rows(_metadata(settings, commit_id, days, bronze), bronze, _OtherManifests(lake).rows)
    inputs = DayInputs(partial(exchange_days, settings), tuple(bronze["ticks"].problems))
    return write_report(
        settings, commit_id, "lake", str(days), lake_laws(lake, days, bronze["trades"], commits, inputs)
    )


def lake_laws(
    lake: RefFiles, days: Days, bronze: BronzeListing, commits: Iterable[CommitRows], inputs: DayInputs | None = None
) -> dict[str, pd.DataFrame]:
    """Return the tables of all laws of the checkpoint `lake`.

    Args:
        lake: The ref.
        days: The days.
        bronze: The manifests of trades.
        commits: Rows by the metadata of commits.
        inputs: What the laws need besides the ref; nothing by default.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    from tickhouse.checks.audit.great_expectations_run import checkpoint

    with tempfile.TemporaryDirectory() as scratch:
        views = LakeViews(lake, days, Path(scratch), inputs.now if inputs else None)
        views.open(bronze, commits, inputs or DayInputs())
        return law_tables(views.connection, checkpoint("lake"))


def write_report(
    settings: Settings, commit_id: str, what: str, days: str, tables: dict[str, pd.DataFrame]
) -> AuditReport:
    """Check law tables, write Data Docs and report, and return the report."""
    from tickhouse.checks.audit.great_expectations_run import run_checkpoint

    name = f"{commit_id[:16]}-{what}"
    folder = report_site.folder(settings) / name
    broken = run_checkpoint(tables, name, folder)
    url = f"{settings.data_docs_url}/{name}/index.html"
    of_severity = {severity: tuple(str(one) for one in broken if one.severity == severity) for severity in SEVERITIES}
    report = AuditReport(
        commit_id,
        what,
        days,
        ok=not of_severity["critical"],
        url=url,
        broken=of_severity["critical"],
        warnings=of_severity["warning"],
        notes=of_severity["info"],
    )
    report_site.finish(folder, report.document())
    return report


def _metadata(
    settings: Settings, commit_id: str, days: Days, bronze: Mapping[str, BronzeListing]
) -> list[dict[str, str]]:
    """Return the metadata of the commits that name manifests of the days, newest first.

    A record is received after it happened, so commits from before the first day are not read. For
    old days, which a replay brought, reading stops when the commit of each manifest was found.
    """
    unmatched = {_file_name(path) for one in bronze.values() for path in one.manifests}
    since = midnight(days.first).timestamp() - CLOCK_SKEW_S
    found: list[dict[str, str]] = []
    newest = None
    with lake_errors(settings):
        for commit in repository(settings).ref(commit_id).log(amount=LOG_PAGE):
            newest = newest or commit.creation_date
            if commit.creation_date < since or (not unmatched and newest - since > RECENT_S):
                break
            metadata = dict(commit.metadata or {})
            named = json.loads(metadata.get("manifests", "[]"))
            if any(_file_name(path) in unmatched or day_of(path) in days for path in named):
                found.append(metadata)
            unmatched -= set(map(_file_name, named))
    return [one for one in found if not _names_forgotten(one, bronze)]


def _names_forgotten(metadata: Mapping[str, str], bronze: Mapping[str, BronzeListing]) -> bool:
    """Return whether a commit names manifests of removed bronze, whose rows cannot be counted."""
    named = json.loads(metadata.get("manifests", "[]"))
    return any(day_of(path) in one.forgotten for path in named for one in bronze.values())


class _OtherManifests:
    """The rows of manifests of other days, which commits name besides those of the audited days."""

    def __init__(self, lake: RefFiles) -> None:
        self._lake = lake
        self._by_name: dict[str, dict[str, int]] = {}

    def rows(self, path: str) -> int | None:
        """Return the rows of a manifest by its path in the metadata; None when it is missing."""
        count = self._lake.manifest_rows(path)
        table, _, rest = path.partition("/_manifests/")[2].partition("/")
        if count is None and "/" not in rest:  # moved out of the flat folder: only its name is known
            if table not in self._by_name:
                whole = self._lake.bronze(table).manifests
                self._by_name[table] = {_file_name(one): rows for one, rows in whole.items()}
            count = self._by_name[table].get(rest)
        return count


def _file_name(path: str) -> str:
    """Return the name of a manifest, which stays the same when the manifest is moved."""
    return path.rpartition("/")[2]


def commit_rows(
    metadata: Iterable[dict[str, str]],
    bronze: Mapping[str, BronzeListing],
    rows_at: Callable[[str], int | None] = lambda path: None,
) -> list[CommitRows]:
    """Return rows by the metadata of commits and by the manifests that these name (pure).

    Args:
        metadata: Of the commits that name manifests of the audited days.
        bronze: The manifests of these days by table.
        rows_at: Rows of a manifest of another day by its path; None when it is not there.
    """
    rows: dict[str, int] = {}
    named: set[str] = set()
    for commit in metadata:
        named |= set(json.loads(commit.get("manifests", "[]")))
        for topic, count in json.loads(commit.get("rows", "{}")).items():
            rows[topic] = rows.get(topic, 0) + count
    result = []
    for table, topic in TOPICS.items():
        own = {_file_name(path): count for path, count in bronze[table].manifests.items()}
        of_table = sorted(path for path in named if f"/_manifests/{table}/" in path)
        counts = [own[_file_name(path)] if _file_name(path) in own else rows_at(path) for path in of_table]
        if of_table:
            known = [count for count in counts if count is not None]
            result.append(CommitRows(topic, rows.get(topic, 0), sum(known), len(counts) - len(known)))
    return result


def read_report(site: Path) -> dict[str, Any]:
    """Return the report in a site that `write_report` wrote."""
    document: dict[str, Any] = json.loads((site / report_site.REPORT).read_text())
    return document
