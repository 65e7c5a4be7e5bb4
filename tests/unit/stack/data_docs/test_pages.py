"""The pages of an audit, of the index and of lineage: what they say, and that they escape it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from stack.data_docs.audit_page import audit_page, verdict_of
from stack.data_docs.html_page import chip
from stack.data_docs.index_page import audits_page, index_page
from stack.data_docs.lineage_page import lineage_page

EVIL = "<script>alert('x')</script>\"&"
LOADED = re.compile(r"""(?:src|data-main)\s*=|@import|url\(|<script|<link|<iframe|https?:""", re.IGNORECASE)


def law(outcome: str, *, is_broken: bool = False, **changes: Any) -> dict[str, Any]:
    document = {"suite": "silver", "law": "each event once", "severity": "critical", "rows": 0, "failing": []}
    return document | {"outcome": outcome, "is_broken": is_broken, "reason": "", "error": ""} | changes


def report(**changes: Any) -> dict[str, Any]:
    document = {"commit_id": "c" * 64, "what": "lake", "days": "2024-08-08", "ok": True, "verdict": "passed"}
    lists: dict[str, Any] = {"broken": [], "warnings": [], "notes": [], "laws": [law("passed")]}
    facts = {"ref": "main", "source": "lakeFS repository lake", "market": "real", "at": "2024-08-09T02:00:00Z"}
    return document | lists | facts | {"suites": {"silver": "One row per stream."}} | changes


class Tags(HTMLParser):
    """The tags of a page, to see that each one that opens is closed."""

    VOID = frozenset({"meta", "br", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_names_commit_days_source_and_each_law() -> None:
    page = audit_page(report())

    for shown in ("c" * 64, "2024-08-08", "main of lakeFS repository lake", "real", "each event once", "One row per"):
        assert shown in page
    assert page.count(chip("passed")) == 2, "the verdict and the law"


def test_a_failed_law_shows_its_rows_and_how_many_are_left_out() -> None:
    rows = [{"symbol": f"S{number}", "repeats": str(number)} for number in range(20)]
    broken = law("failed", is_broken=True, rows=23, failing=rows, reason="because")
    page = audit_page(report(ok=False, verdict="failed", laws=[broken], broken=["silver: each event once (23 rows)"]))

    assert chip("failed") in page
    assert "<td>S19</td>" in page
    assert "and 3 more rows" in page
    assert "because" in page
    assert page.index("Why it did not pass") < page.index("<h2>Laws</h2>")


def test_a_law_without_data_is_no_tick() -> None:
    page = audit_page(report(ok=False, verdict="no data", laws=[law("no data")]))

    assert chip("no data") in page
    assert "there was nothing to check" in page
    assert chip("passed") not in page


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "passed"),
        ({"warnings": ["x"]}, "passed with warnings"),
        ({"ok": False, "verdict": "no data"}, "no data"),
        ({"ok": False, "verdict": ""}, "failed"),
    ],
)
def test_a_verdict_has_one_of_four_states(changes: dict[str, Any], wanted: str) -> None:
    assert verdict_of(report(**changes)) == wanted


def test_html_in_values_is_shown_as_text_everywhere() -> None:
    broken = law(
        "failed", is_broken=True, suite=EVIL, law=EVIL, rows=1, failing=[{EVIL: EVIL}], reason=EVIL, error=EVIL
    )
    facts = dict.fromkeys(("commit_id", "what", "days", "ref", "source", "market", "at"), EVIL)
    lists = {name: [EVIL] for name in ("broken", "warnings", "notes")}
    evil = report(**facts, **lists, ok=False, verdict=EVIL, laws=[broken], suites={EVIL: EVIL})
    others = [(EVIL, evil), (EVIL, evil | {"at": "z"})]
    record = {"month": EVIL, "notebook": EVIL, "commit_id": EVIL, "days": EVIL, "at": EVIL}
    tree = {"name": EVIL, "version": EVIL, "made_by": {"job": EVIL, "days": EVIL, "at": EVIL}, "from": []}
    pages = [
        audit_page(evil, others, EVIL),
        index_page(others, [(EVIL, record)], [(EVIL, record)], EVIL),
        audits_page(others, EVIL),
        lineage_page(tree, EVIL, EVIL, EVIL),
    ]

    for page in pages:
        assert "<script" not in page
        assert "&lt;script" in page
        assert Tags(page).open == []
        assert LOADED.findall(page) == []


def test_an_audit_lists_the_others_of_its_commit_and_says_that_a_later_one_counts() -> None:
    first = report(ok=False, verdict="failed")
    other_day = report(days="2024-08-09", at="2024-08-09T03:00:00Z")
    again = report(at="2024-08-09T04:00:00Z")
    others = [("again", again), ("other", other_day), ("first", first)]

    page = audit_page(first, others)
    assert "The newest verdict counts" in page
    assert "../again/index.html" in page
    assert "../other/index.html" in page
    assert "The newest verdict counts" not in audit_page(again, others)
    assert "The newest verdict counts" not in audit_page(other_day, others)


def test_the_index_has_audits_months_and_lineage() -> None:
    month = {"month": "2024-08", "notebook": "monthly", "commit_id": "d" * 64, "equals_published": True}
    published = {"days": "2024-08-08", "commit_id": "e" * 64, "at": "2024-08-09T02:00:00Z"}
    page = index_page([("one", report())], [("monthly-2024-08", month)], [("eeee", published)])

    for link in (
        "one/index.html",
        "reports/monthly-2024-08.html",
        "reports/monthly-2024-08.ipynb",
        "lineage/eeee.html",
    ):
        assert f'href="{link}"' in page
    assert "equals what was published" in page


def test_an_earlier_versions_report_is_still_listed() -> None:
    old = {"commit_id": "c" * 64, "what": "lake", "days": "2024-08-08", "ok": False, "broken": ["x"], "at": "1"}
    assert chip("failed") in index_page([("old", old)], [], [])
    assert "earlier version" in audit_page(old)
