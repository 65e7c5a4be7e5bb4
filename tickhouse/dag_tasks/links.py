"""Links at a task in Airflow: the audit's report, the lake's commit, Spark's UI, the started run.

A task keeps its addresses while it runs (`RunReport.link`), and Airflow stores each declared link
when the task ends, also when it failed. Airflow shows only links that have an address.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperator, BaseOperatorLink

from common.settings import Settings

# Key of the XCom with the addresses that a task keeps, by name of the link.
KEPT_LINKS = "links"


class KeptLink(BaseOperatorLink):
    """A link whose address the task keeps in its XCom `links`."""

    name: ClassVar[str] = ""

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address; empty when the task has none."""
        kept = ti_key.xcom_pull(task_ids=operator.task_id, key=KEPT_LINKS) or {}
        return str(kept.get(self.name, ""))


class AuditReportLink(KeptLink):
    """The report of the audit, in the Data Docs."""

    name = "Audit report"


class AllReportsLink(KeptLink):
    """The index of all reports."""

    name = "All audit reports"


class LakeCommitLink(KeptLink):
    """The commit of the lake that the task made or read."""

    name = "Lake commit"


class MonthlyPageLink(KeptLink):
    """The page that a notebook gave."""

    name = "Report page"


class StartedRunLink(KeptLink):
    """The run that the task started."""

    name = "Started run"


class SparkUiLink(KeptLink):
    """Spark's UI of the driver, while it runs."""

    name = "Spark UI"


AUDIT_LINKS = (AuditReportLink(), AllReportsLink())
LAKE_COMMIT, MONTHLY_PAGE, STARTED_RUN, SPARK_UI = LakeCommitLink(), MonthlyPageLink(), StartedRunLink(), SparkUiLink()


def commit_url(settings: Settings, commit_id: str) -> str:
    """Return the page of a commit (api/routes/commit_page.py)."""
    return f"{settings.api_url}/commits/{commit_id}"


def run_url(settings: Settings, dag_id: str, run_id: str) -> str:
    """Return Airflow's page of a run."""
    return f"{settings.airflow_url}/dags/{dag_id}/runs/{quote(run_id)}"
