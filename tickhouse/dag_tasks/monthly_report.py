"""The tasks of DAG `monthly_report`: execute a notebook for a ref.

The executed notebook and its page are written beside the Data Docs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from common.clients.lake_files import RefFiles
from common.days import ONE_DAY
from common.errors import ReconcileFailed
from common.market_kind import banner
from common.settings import REPO, Settings, load_settings
from stack.data_docs import report_site
from tickhouse.dag_tasks.assets import MONTHLY_REPORT
from tickhouse.dag_tasks.links import LakeCommitLink, MonthlyPageLink, commit_url
from tickhouse.dag_tasks.run_report import RunReport, short
from tickhouse.lake.branches import head

NOTEBOOKS = REPO / "notebooks"
PAGE_TEMPLATE = "page"  # a folder beside the notebooks
# For the longest cell: it starts Spark and reads a month of trades.
CELL_TIMEOUT_S = 1800
# The output of the last cell.
_RESULT = re.compile(r"'month': '(\d{4}-\d{2})',\s*'result_hash': '([0-9a-f]{64})'")


@dataclass(frozen=True, slots=True)
class MonthlyReport:
    """The result of a run of a notebook: the commit, the hash of what it computed, and the page."""

    commit_id: str
    month: str
    result_hash: str
    url: str


def execute(params: Mapping[str, Any], dag_run: Any, notebook: str = "monthly") -> dict[str, str]:
    """Execute a notebook for the month of a run; return the fields of `MonthlyReport`.

    Raises:
        AirflowSkipException: The ref has no such month.
        ReconcileFailed: The notebook failed.
    """
    settings, month = load_settings(), month_of(params, dag_run.run_after)
    told = RunReport.current(settings)
    if not has_month(settings, params["ref"], month):
        text = f"{params['ref']} has no published day of month {month}, so there is nothing to report."
        told.note(text)
        raise AirflowSkipException(text)
    told.say(f"Executing notebooks/{notebook}.ipynb for {month} of {params['ref']}.")
    made = report(settings, params["ref"], month, notebook)
    told.link(MonthlyPageLink.name, made.url)
    told.link(LakeCommitLink.name, commit_url(settings, made.commit_id))
    told.changed(MONTHLY_REPORT, made.commit_id, month=month, notebook=notebook, result_hash=made.result_hash)
    told.note(
        f"Reported {month} at commit {short(made.commit_id)} with notebook {notebook}, "
        f"result hash {made.result_hash[:12]}: {made.url}"
    )
    return asdict(made)


def month_of(params: Mapping[str, Any], run_after: datetime) -> str:
    """Return the month of a run, `YYYY-MM`: parameter `month`, or the month before the run."""
    last_month = run_after.astimezone(UTC).date().replace(day=1) - ONE_DAY
    return str(params.get("month") or f"{last_month:%Y-%m}")


def report(settings: Settings, ref: str, month: str, notebook: str = "monthly") -> MonthlyReport:
    """Execute a notebook and write `<notebook>-<month>-<commit>` as notebook and as page.

    Args:
        settings: Addresses.
        ref: Branch, tag or commit.
        month: `YYYY-MM`; empty for the newest one.
        notebook: A file of `notebooks/` without its suffix.

    Raises:
        ConfigurationError: There is no such ref.
        ReconcileFailed: The notebook failed, for instance because the published month differs from
            what its trades give.
    """
    import nbformat

    commit_id = head(settings, ref)
    executed = execute_notebook(commit_id, month, notebook)
    result = _RESULT.search("\n".join(output_texts(executed)))
    if result is None:
        raise ReconcileFailed(
            f"The notebook shows no hash at commit {commit_id}.", next_command=f"jupyter run notebooks/{notebook}.ipynb"
        )
    folder = report_site.folder(settings) / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{notebook}-{result[1]}-{commit_id[:16]}"
    nbformat.write(executed, folder / f"{name}.ipynb")  # type: ignore[no-untyped-call]
    page = page_of(executed, f"{result[1]} at {commit_id[:16]}")
    (folder / f"{name}.html").write_text(report_site.with_banner(page, banner(settings.home)))
    return MonthlyReport(commit_id, result[1], result[2], f"{settings.data_docs_url}/reports/{name}.html")


def has_month(settings: Settings, ref: str, month: str) -> bool:
    """Return whether a ref has the aggregates of a month.

    Raises:
        ConfigurationError: There is no such ref.
        StoreUnavailable: The lake does not answer.
    """
    return bool(RefFiles.connect(settings, head(settings, ref)).parquet_files(f"gold/monthly/month={month}"))


def execute_notebook(ref: str, month: str, name: str = "monthly") -> Any:
    """Execute a notebook for a ref and return it with its outputs.

    Raises:
        ReconcileFailed: A cell failed; the message is its error.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    with _environment(TICKHOUSE_REF=ref, TICKHOUSE_MONTH=month, PYTHONPATH=str(REPO)):
        resources = {"metadata": {"path": str(REPO)}}  # the kernel's working directory
        client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources=resources)
        try:
            return client.execute()
        except CellExecutionError as error:
            raise ReconcileFailed(f"The notebook failed: {error.ename}: {error.evalue}") from error


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def output_texts(notebook: Any) -> Iterator[str]:
    """Yield the output of each cell that shows a value, as text."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/plain")
            if text is not None:
                yield str(text)


def page_of(notebook: Any, title: str) -> str:
    """Return a notebook as one self-contained HTML page, without its code."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name=PAGE_TEMPLATE,
        extra_template_basedirs=[str(NOTEBOOKS)],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return str(page)
