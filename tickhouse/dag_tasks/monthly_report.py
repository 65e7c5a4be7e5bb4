"""The tasks of DAG `monthly_report`: execute a notebook for a ref.

The executed notebook and its page are written beside the Data Docs.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from common.clients.lake_files import RefFiles
from common.days import ONE_DAY
from common.errors import ReconcileFailed
from common.market_kind import banner
from common.settings import REPO, Settings, load_settings
from stack.data_docs import report_site
from stack.data_docs.html_page import STYLE, chip, facts
from tickhouse.dag_tasks.assets import MONTHLY_REPORT
from tickhouse.dag_tasks.links import LakeCommitLink, MonthlyPageLink, commit_url
from tickhouse.dag_tasks.run_report import RunReport, short
from tickhouse.lake.branches import head

NOTEBOOKS = REPO / "notebooks"
PAGE_TEMPLATE = "page"  # a folder beside the notebooks
# For the longest cell: it starts Spark and reads a month of trades.
CELL_TIMEOUT_S = 1800


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
        ReconcileFailed: The notebook failed; or the published month differs from what its trades
            give. Then the page is there and says so at its top.
    """
    import nbformat

    commit_id = head(settings, ref)
    executed = execute_notebook(commit_id, month, notebook)
    result = result_of(executed)
    if result is None:
        raise ReconcileFailed(
            f"The notebook shows no hash at commit {commit_id}.", next_command=f"jupyter run notebooks/{notebook}.ipynb"
        )
    name, root = f"{notebook}-{result['month']}-{commit_id[:16]}", report_site.folder(settings)
    record = {**result, "notebook": notebook, "commit_id": commit_id, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    page = page_of(executed, f"{result['month']} at {commit_id[:16]}", summary_of(record))
    (root / report_site.MONTHS).mkdir(parents=True, exist_ok=True)
    nbformat.write(executed, root / report_site.MONTHS / f"{name}.ipynb")  # type: ignore[no-untyped-call]
    page = report_site.with_banner(page, banner(settings.home))
    report_site.add_page(root, report_site.MONTHS, name, page, record)
    url = f"{settings.data_docs_url}/{report_site.MONTHS}/{name}.html"
    if result.get("equals_published") is False:
        raise ReconcileFailed(
            f"The published month {result['month']} differs from what its trades give at commit {commit_id[:16]}.",
            safe=f"Nothing was changed. Report: {url}",
            next_command="tickhouse lake log main",
        )
    return MonthlyReport(commit_id, str(result["month"]), str(result["result_hash"]), url)


def result_of(notebook: Any) -> dict[str, Any] | None:
    """Return the dictionary that the last cell shows; None when no cell shows one with a hash."""
    for text in reversed(list(output_texts(notebook))):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            continue
        if isinstance(found, dict) and {"month", "result_hash"} <= found.keys():
            return found
    return None


def summary_of(record: Mapping[str, Any]) -> str:
    """Return the top of a page as HTML: the commit, and whether the month is what was published."""
    code = "<code>{}</code>".format
    commit_id = escape(str(record["commit_id"]))
    equals = {True: f"yes, commit {code(commit_id[:16])}", False: f"NO, commit {code(commit_id[:16])}"}
    is_equal = record.get("equals_published")
    pairs = [
        ("Equals what was published", "" if is_equal is None else equals[is_equal]),
        ("Month", escape(str(record["month"]))),
        ("Commit", code(commit_id)),
        ("Hash of the result", code(escape(str(record["result_hash"])))),
        ("Made at", escape(str(record["at"]).replace("T", " ").replace("Z", " UTC"))),
    ]
    mark = "" if is_equal is None else chip("passed" if is_equal else "failed")
    return f'<div class="panel">{mark}{facts(pairs)}</div>'


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


def page_of(notebook: Any, title: str, summary: str = "") -> str:
    """Return a notebook as one self-contained HTML page, without its code.

    Args:
        notebook: It has been executed.
        title: Text of the title.
        summary: HTML for the top.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name=PAGE_TEMPLATE,
        extra_template_basedirs=[str(NOTEBOOKS)],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    resources = {"metadata": {"name": title}, "style": STYLE.read_text(), "summary": summary}
    page, _ = exporter.from_notebook_node(notebook, resources=resources)
    return str(page)
