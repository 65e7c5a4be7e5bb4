"""The page of a commit: everything in it is text, except links to reports and parents."""

from __future__ import annotations

from typing import Any

from api.routes.commit_page import MOST_CHARACTERS, page_of

COMMIT, PARENT = "a" * 64, "b" * 64


def page(metadata: dict[str, str], message: str = "Publish etl-2024-08-09") -> str:
    document: dict[str, Any] = {"commit": COMMIT, "created_at": "2024-08-10T00:41:00Z", "message": message}
    return page_of(document | {"parents": [PARENT], "metadata": metadata})


def test_it_links_the_report_and_the_parents() -> None:
    html = page({"audit.report": "http://127.0.0.1:21062/r/index.html", "rollback.reason": "a wrong figure"})

    assert '<a href="http://127.0.0.1:21062/r/index.html">' in html
    assert f'<a href="/commits/{PARENT}">{PARENT[:12]}</a>' in html
    assert "a wrong figure" in html


def test_what_others_wrote_is_never_html() -> None:
    """Whoever may commit to the lake chooses message and metadata."""
    html = page({"<b>x</b>": '"><script>', "audit.report": "javascript:alert(1)"}, message="<img src=x>")

    for text in ("<b>x", '"><script>', "<img src=x", 'href="javascript:'):
        assert text not in html
    assert "&lt;img src=x&gt;" in html


def test_long_metadata_is_cut() -> None:
    assert len(page({"manifests": "m" * 40_000})) < MOST_CHARACTERS + 3_000
