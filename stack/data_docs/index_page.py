"""The index of audits, monthly reports and lineage, and the page of all audits. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from textwrap import shorten
from typing import Any

from stack.data_docs.audit_page import Report, verdict_of
from stack.data_docs.html_page import chip, page, table

# Rows of each kind on the index; the page of all audits has every audit.
MOST_AUDITS = 20
MOST_MONTHS = 24
MOST_LINEAGE = 20
# Causes that a row shows, and characters of each; the page of the audit has all.
MOST_CAUSES, MOST_CHARACTERS = 3, 160

Named = Sequence[tuple[str, Mapping[str, Any]]]


def index_page(audits: Named, months: Named, lineage: Named, banner: str = "") -> str:
    """Return the index.

    Args:
        audits: Folder and report of each audit, newest first.
        months: File (without suffix) and record of each monthly report, newest first.
        lineage: The same of each page of lineage.
        banner: Text at the top.
    """
    more = f'<p><a href="audits.html">All {len(audits)} audits</a></p>' if len(audits) > MOST_AUDITS else ""
    body = (
        "<h1>Reports of the lake</h1>"
        f"<h2>Audits</h2>{_audits(audits[:MOST_AUDITS])}{more}"
        f"<h2>Monthly reports</h2>{_months(months[:MOST_MONTHS])}"
        f"<h2>Lineage: what a publication was made from</h2>{_lineage(lineage[:MOST_LINEAGE])}"
    )
    return page("Reports of the lake", body, banner=banner)


def audits_page(audits: Named, banner: str = "") -> str:
    """Return the page of all audits, newest first."""
    return page("Audits", f"<h1>Audits</h1>{_audits(audits)}", banner=banner, links={"Reports": "index.html"})


def _audits(audits: Named) -> str:
    if not audits:
        return '<p class="panel">No audit yet: DAG nightly_batch makes them, and <code>tickhouse audit</code>.</p>'
    heads = ("at", "days", "verdict", "checked", "commit", "why")
    return f'<div class="panel">{table(heads, [_audit(name, report) for name, report in audits])}</div>'


def _audit(name: str, report: Report) -> tuple[str, ...]:
    ref = f"{report['ref']} " if report.get("ref") else ""
    return (
        escape(str(report["at"]).replace("T", " ")),
        f'<a href="{escape(name)}/index.html">{escape(str(report["days"]))}</a>',
        chip(verdict_of(report)),
        escape(str(report["what"])),
        f"{escape(ref)}<code>{escape(str(report['commit_id'])[:16])}</code>",
        _why(report),
    )


def _why(report: Report) -> str:
    lines = [*report.get("broken", []), *report.get("warnings", []), *report.get("notes", [])]
    shown = [escape(shorten(str(line), MOST_CHARACTERS, placeholder=" …")) for line in lines[:MOST_CAUSES]]
    return "<br>".join([*shown, f"and {len(lines) - MOST_CAUSES} more"] if len(lines) > MOST_CAUSES else shown)


def _months(months: Named) -> str:
    if not months:
        return '<p class="panel">No monthly report yet. DAG monthly_report makes them.</p>'
    rows = [
        (
            f'<a href="reports/{escape(name)}.html">{escape(str(one["month"]))}</a>',
            escape(str(one["notebook"])),
            _published(one),
            f"<code>{escape(str(one['commit_id'])[:16])}</code>",
            f'<a href="reports/{escape(name)}.ipynb">notebook</a>',
        )
        for name, one in months
    ]
    return f'<div class="panel">{table(("month", "report", "published?", "commit", "file"), rows)}</div>'


def _lineage(lineage: Named) -> str:
    if not lineage:
        return '<p class="panel">Nothing was published yet.</p>'
    rows = [
        (
            escape(str(one["at"])),
            f'<a href="lineage/{escape(name)}.html">{escape(str(one["days"]))}</a>',
            f"<code>{escape(str(one['commit_id'])[:16])}</code>",
        )
        for name, one in lineage
    ]
    return f'<div class="panel">{table(("published at", "days", "commit"), rows)}</div>'


def _published(one: Mapping[str, Any]) -> str:
    """Return whether a month equals what was published; empty where that was not compared."""
    if "equals_published" not in one:
        return ""
    return chip("passed") + " equals what was published" if one["equals_published"] else chip("failed")
