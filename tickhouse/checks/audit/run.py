"""Audit one commit of the lake, and write the report of the audit.

Each audit has a folder of its own, `<commit>-<what>-<days>-<time>`: an audit of other days, or a
second one of the same days, replaces nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.clients.lake_files import BronzeListing, RefFiles
from common.days import Days, day_of
from common.market_kind import kind_of
from common.settings import Settings
from stack.data_docs import report_site
from tickhouse.checks.audit.commit_metadata import TOPICS, OtherManifests, commit_rows, metadata_of_days
from tickhouse.checks.audit.exchange_klines import exchange_days
from tickhouse.checks.audit.lake_views import CommitRows, DayInputs, LakeViews
from tickhouse.checks.audit.laws import explanation, law_tables
from tickhouse.checks.audit.outcomes import NO_DATA, SEVERITIES, LawOutcome, causes

if TYPE_CHECKING:
    import pandas as pd

# The tables of a day: what the exchange sent, what was built of it, and what people read.
DAY_FOLDERS = ("bronze/trades", "silver/trades", "gold/candles_1d")


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of the audit of a commit.

    Attributes:
        commit_id: What was audited.
        what: The name of the checkpoint, `lake` or `postgres`.
        days: The audited days.
        ok: Whether all laws that can stop the publication hold.
        url: Address of the page that people read.
        broken: What stops the publication, one line per cause.
        warnings: The broken laws that are declared as warnings, one line per cause.
        notes: The broken laws that are declared as information, such as what was not compared, and
            days that the commit does not have.
        ref: The branch or tag that was asked for; empty when it was a commit.
        verdict: `passed`, `failed`, or `no data` when nothing was broken but the laws that ask for
            rows.
        data_docs_url: Address of Great Expectations' Data Docs of this audit.
    """

    commit_id: str
    what: str
    days: str
    ok: bool
    url: str
    broken: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ref: str = ""
    verdict: str = ""
    data_docs_url: str = ""

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self) | {name: list(getattr(self, name)) for name in ("broken", "warnings", "notes")}

    def summary(self) -> str:
        """Return the result in a few words: `passed`, `passed with 2 warnings`, `failed`."""
        if not self.ok:
            return self.verdict or "failed"
        return f"passed with {len(self.warnings)} warnings" if self.warnings else "passed"


def audit_lake(settings: Settings, commit_id: str, days: Days, ref: str = "") -> AuditReport:
    """Check the days of a commit with the checkpoint `lake`.

    Args:
        settings: Addresses.
        commit_id: The commit.
        days: The days.
        ref: The branch or tag that stands for the commit, for people.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    lake = RefFiles.connect(settings, commit_id)
    bronze = {table: lake.bronze(table, days) for table in TOPICS}
    commits = commit_rows(metadata_of_days(settings, commit_id, days, bronze), bronze, OtherManifests(lake).rows)
    inputs = DayInputs(partial(exchange_days, settings), tuple(bronze["ticks"].problems))
    tables = lake_laws(lake, days, bronze["trades"], commits, inputs)
    return write_report(settings, commit_id, "lake", days, tables, ref=ref, missing_days=days_without_data(lake, days))


def days_without_data(lake: RefFiles, days: Days) -> list[date]:
    """Return the days of which a ref has no trade and no candle.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    return [day for day in days if not any(lake.parquet_files(f"{one}/date={day}") for one in DAY_FOLDERS)]


def newest_day(settings: Settings, commit_id: str) -> date | None:
    """Return the newest day with candles; None when the commit has none.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    days = [day_of(path) for path in RefFiles.connect(settings, commit_id).parquet_files("gold/candles_1d")]
    return max((day for day in days if day is not None), default=None)


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
    settings: Settings,
    commit_id: str,
    what: str,
    days: Days | None,
    tables: dict[str, pd.DataFrame],
    *,
    ref: str = "",
    missing_days: Sequence[date] = (),
) -> AuditReport:
    """Check law tables, write Data Docs, page and report, and return the report.

    Args:
        settings: Addresses and home.
        commit_id: What was audited.
        what: The name of the checkpoint.
        days: The audited days; None for all.
        tables: Law tables by name.
        ref: The branch or tag that stands for the commit, for people.
        missing_days: The audited days of which the commit has nothing.
    """
    from tickhouse.checks.audit.great_expectations_run import run_checkpoint

    site = report_site.new_site(settings, f"{commit_id[:16]}-{what}-{_days_in_name(days)}")
    outcomes = run_checkpoint(tables, site.name, site / report_site.DATA_DOCS)
    are_all_missing = days is not None and len(missing_days) == len(days)
    found = causes(outcomes, missing_days, ref=ref or f"commit {commit_id[:16]}", are_all_missing=are_all_missing)
    broken, warnings, notes = (tuple(one.text for one in found if one.severity == severity) for severity in SEVERITIES)
    report = AuditReport(
        commit_id,
        what,
        str(days or "all days"),
        ok=not any(one.is_broken and one.severity == "critical" for one in outcomes),
        url=f"{settings.data_docs_url}/{site.name}/index.html",
        broken=broken,
        warnings=warnings,
        notes=notes,
        ref=ref,
        verdict=_verdict(outcomes),
        data_docs_url=f"{settings.data_docs_url}/{site.name}/{report_site.DATA_DOCS}/index.html",
    )
    report_site.finish(site, report.document() | _for_the_page(settings, outcomes))
    return report


def _days_in_name(days: Days | None) -> str:
    return "all-days" if days is None else str(days).replace("..", "-to-")


def _verdict(outcomes: Iterable[LawOutcome]) -> str:
    stopping = {one.outcome for one in outcomes if one.is_broken and one.severity == "critical"}
    if not stopping:
        return "passed"
    return NO_DATA if stopping == {NO_DATA} else "failed"


def _for_the_page(settings: Settings, outcomes: Sequence[LawOutcome]) -> dict[str, Any]:
    """Return what `report.json` and the page have beyond the report: each law, and the source."""
    suites = dict.fromkeys(one.suite for one in outcomes)
    return {
        "source": f"lakeFS repository {settings.lake_repository}",
        "market": kind_of(settings.home) or "unknown",
        "suites": {name: explanation(name) for name in suites},
        "laws": [one.document() for one in outcomes],
    }
