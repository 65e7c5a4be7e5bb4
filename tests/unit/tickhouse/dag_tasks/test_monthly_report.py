"""The notebook as a page, and the days of its month."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import nbformat
import nbformat.v4 as nb
import pytest

from stack.data_docs import report_site
from tickhouse.dag_tasks.monthly_report import NOTEBOOKS, month_of, page_of, result_of, summary_of

# Attributes by which a browser loads something.
LOADED = re.compile(
    r"""(?:src|href|data-main)\s*=\s*(?!["']?(?:data:|\#|\.\./index\.html))|@import|url\(|<script|<link|<iframe""",
    re.IGNORECASE,
)


def example() -> nbformat.NotebookNode:
    picture = nb.new_output("display_data", {"image/png": "iVBORw0KGgo=\n", "text/plain": "<Figure>"})
    table = nb.new_output("execute_result", {"text/html": "<table></table>", "text/plain": "x"})
    text = nb.new_output("execute_result", {"text/plain": "a < b"})
    warning = nb.new_output("stream", name="stderr", text="WARN")
    outputs = [picture, table, text, warning]
    return nb.new_notebook(
        cells=[nb.new_markdown_cell("# A & B\n\nwhy"), nb.new_code_cell("secret = 1", outputs=outputs)]
    )


def test_a_page_shows_what_the_notebook_shows_and_escapes_it() -> None:
    page = page_of(example(), "<t>")

    for shown in ("<title>&lt;t&gt;", "<h1>A &amp; B</h1>", 'src="data:image/png;base64,iVBORw0KGgo=', "<table>"):
        assert shown in page
    assert "<pre>a &lt; b</pre>" in page
    assert "secret" not in page
    assert "WARN" not in page


def test_a_page_loads_nothing_from_a_network() -> None:
    page = page_of(example(), "a month")

    assert LOADED.findall(page) == []
    assert "http" not in page


def test_a_page_takes_the_banner_of_synthetic_trades() -> None:
    page = report_site.with_banner(page_of(example(), "a month"), "synthetic")

    assert page.index("<body>") < page.index("synthetic</div>") < page.index("<h1>")


@pytest.mark.parametrize("name", ["monthly", "measures"])
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text()
    assert '"outputs": []' in text
    assert '"execution_count": null' in text
    assert text.count('"outputs"') == text.count('"outputs": []')


def test_a_month_is_the_one_before_the_run() -> None:
    run_after = datetime(2024, 9, 2, 4, tzinfo=UTC)
    assert month_of({}, run_after) == "2024-08"
    assert month_of({"month": "2024-01"}, run_after) == "2024-01"


@pytest.mark.parametrize(("is_equal", "shown"), [(True, "yes, commit <code>cccc"), (False, "NO, commit <code>cccc")])
def test_the_top_says_whether_the_month_is_what_was_published(is_equal: bool, shown: str) -> None:
    record = {"month": "<m>", "commit_id": "c" * 64, "result_hash": "h", "at": "2024-09-02T04:00:00Z"}
    page = page_of(example(), "t", summary_of(record | {"equals_published": is_equal}))

    assert page.index("Equals what was published") < page.index(shown) < page.index("<h1>")
    assert "&lt;m&gt;" in page
    assert "Equals" not in summary_of(record)
    assert "width=device-width" in page


def test_the_result_is_the_last_dictionary_with_a_hash() -> None:
    outputs = [nb.new_output("execute_result", {"text/plain": text}) for text in ("{'a': 1}", "<Figure>", "nan")]
    result = nb.new_output("execute_result", {"text/plain": "{'month': '2024-08',\n 'result_hash': 'x'}"})
    cells = [nb.new_code_cell("", outputs=[result]), nb.new_code_cell("", outputs=outputs)]
    assert result_of(nb.new_notebook(cells=cells)) == {"month": "2024-08", "result_hash": "x"}
    assert result_of(nb.new_notebook(cells=cells[1:])) is None
