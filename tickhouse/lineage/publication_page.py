"""The page of what a publication was made from, beside the reports of the audits."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from common.days import Days
from common.market_kind import banner
from common.settings import Settings
from stack.data_docs import report_site
from stack.data_docs.lineage_page import lineage_page
from tickhouse.lineage.events import read_runs
from tickhouse.lineage.runs import lake_dataset
from tickhouse.lineage.walk import trace

# All tables of a publication are made from the same trades; this one stands for them.
TABLE = "gold/candles_1d"
log = structlog.get_logger("tickhouse.lineage")


def write_publication_page(settings: Settings, commit_id: str, days: Days) -> None:
    """Write the page of a merge into `main`; a page that cannot be written is logged."""
    try:
        tree = trace(read_runs(settings.home), lake_dataset(settings, TABLE, commit_id))
        at = f"{tree.run.at if tree.run else datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        page = lineage_page(tree.document(), str(days), at, banner(settings.home))
        record = {"commit_id": commit_id, "days": str(days), "at": at}
        report_site.add_page(report_site.folder(settings), report_site.LINEAGE, commit_id[:16], page, record)
    except OSError as error:
        log.warning("lineage_page_not_written", commit=commit_id, error=str(error))
