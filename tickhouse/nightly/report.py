"""Run the monthly notebook for a ref, and keep it, and a page of what it shows, beside the Data Docs."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tickhouse.audit import docs
from tickhouse.errors import ReconcileFailed
from tickhouse.lake.branches import head
from tickhouse.reconcile.lake import connect
from tickhouse.settings import REPO, Settings

NOTEBOOK = REPO / "notebooks" / "monthly.ipynb"
# Spark's start and the longest cell: a month of trades.
CELL_TIMEOUT_S = 1800
# What the last cell shows.
_RESULT = re.compile(r"'month': '(\d{4}-\d{2})',\s*'result_hash': '([0-9a-f]{64})'")


@dataclass(frozen=True, slots=True)
class MonthlyReport:
    """What a run of the notebook gave: the commit, the hash of its aggregates, and where to see it."""

    commit_id: str
    month: str
    result_hash: str
    url: str


def report(settings: Settings, ref: str, month: str) -> MonthlyReport:
    """Execute the notebook and write `monthly-<month>-<commit>` as notebook and page.

    Args:
        settings: Addresses.
        ref: Branch, tag or commit.
        month: `YYYY-MM`; empty for the newest.

    Raises:
        ConfigurationError: There is no such ref.
        ReconcileFailed: The notebook failed: the published month is not what its trades give, say.
    """
    import nbformat

    commit_id = head(settings, ref)
    done = execute(commit_id, month)
    found = _RESULT.search("\n".join(_texts(done)))
    if found is None:
        raise ReconcileFailed(
            f"The notebook says no hash at commit {commit_id}.", next_command=f"jupyter run {NOTEBOOK}"
        )
    folder = docs.folder(settings) / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"monthly-{found[1]}-{commit_id[:16]}"
    nbformat.write(done, folder / f"{name}.ipynb")  # type: ignore[no-untyped-call]
    (folder / f"{name}.html").write_text(page_of(done, f"{found[1]} at {commit_id[:16]}"))
    return MonthlyReport(commit_id, found[1], found[2], f"{settings.data_docs_url}/reports/{name}.html")


def has_month(settings: Settings, ref: str, month: str) -> bool:
    """Return whether a ref has the aggregates of a month.

    Raises:
        ConfigurationError: There is no such ref.
        StoreUnavailable: The lake does not answer.
    """
    return bool(connect(settings, head(settings, ref)).files(f"gold/monthly/month={month}"))


def execute(ref: str, month: str) -> Any:
    """Return the executed notebook.

    Raises:
        ReconcileFailed: A cell failed; the message is the cell's error.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    with _environment(TICKHOUSE_REF=ref, TICKHOUSE_MONTH=month, PYTHONPATH=str(REPO)):
        client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources=_beside())
        try:
            return client.execute()
        except CellExecutionError as error:
            raise ReconcileFailed(f"The notebook failed: {error.ename}: {error.evalue}") from error


def _beside() -> dict[str, Any]:
    return {"metadata": {"path": str(REPO)}}


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _outputs(notebook: Any) -> Iterator[Mapping[str, Any]]:
    for cell in notebook.cells:
        yield from (output.get("data", {}) for output in cell.get("outputs", []))


def _texts(notebook: Any) -> Iterator[str]:
    return (str(data["text/plain"]) for data in _outputs(notebook) if "text/plain" in data)


def page_of(notebook: Any, title: str) -> str:
    """Return a notebook as one HTML page: texts, tables and pictures, no code."""
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>"]
    parts.append("<style>body{font:15px sans-serif;margin:2em}td,th{padding:.2em .7em;text-align:right}</style>")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(_prose(cell.source))
        parts += [_shown(output.get("data", {})) for output in cell.get("outputs", [])]
    return "\n".join(parts)


def _prose(source: str) -> str:
    heading = re.match(r"(#+) (.*)\n*", source)
    rest = source[heading.end() :] if heading else source
    head_ = f"<h{len(heading[1])}>{html.escape(heading[2])}</h{len(heading[1])}>" if heading else ""
    return f"{head_}<p>{html.escape(rest)}</p>"


def _shown(data: Mapping[str, Any]) -> str:
    if "image/png" in data:
        image = data["image/png"]
        encoded = image if isinstance(image, str) else base64.b64encode(image).decode()
        return f'<img src="data:image/png;base64,{encoded.strip()}">'
    if "text/html" in data:
        return str(data["text/html"])
    return f"<pre>{html.escape(str(data.get('text/plain', '')))}</pre>"
