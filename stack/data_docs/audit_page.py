"""The page of one audit: what was audited, what came out, and each law in words. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from stack.data_docs.html_page import chip, facts, page, rows_table, table

Report = Mapping[str, Any]
HEADINGS = {"broken": "Why it did not pass", "warnings": "Warnings", "notes": "Notes"}
SEVERITY_OF_LIST = {"broken": "critical", "warnings": "warning", "notes": "info"}
# What a law that does not hold means, by its severity.
MEANINGS = {"critical": "stops the publication", "warning": "a warning", "info": "only noted"}


def verdict_of(report: Report) -> str:
    """Return the state of a report: passed, passed with warnings, failed or no data.

    Reports of earlier versions have no `verdict`.
    """
    if not report["ok"]:
        return str(report.get("verdict") or "failed")
    return "passed with warnings" if report.get("warnings") else "passed"


def audit_page(report: Report, others: Sequence[tuple[str, Report]] = (), banner: str = "") -> str:
    """Return the page of an audit.

    Args:
        report: The document of `report.json`.
        others: Name and report of every audit of the same commit, newest first, with this one.
        banner: Text at the top.
    """
    verdict = verdict_of(report)
    title = f"Audit of {report['days']}: {verdict}"
    parts = [
        f"<h1>Audit of {escape(str(report['days']))} {chip(verdict)}</h1>",
        _superseded(report, others),
        _facts(report),
        *(_causes(report, name) for name in HEADINGS),
        _laws(report),
        _history(report, others),
    ]
    links = {"All audits": "../audits.html", "Reports": "../index.html", "report.json": "report.json"}
    if report.get("data_docs_url"):
        links["Great Expectations' Data Docs"] = "data_docs/index.html"
    return page(title, "\n".join(filter(None, parts)), banner=banner, links=links)


def _facts(report: Report) -> str:
    ref = f"{report['ref']} of " if report.get("ref") else ""
    pairs = [
        ("Commit", f"<code>{escape(str(report['commit_id']))}</code>"),
        ("Days", f"{escape(str(report['days']))} (UTC)"),
        ("Source", escape(f"{ref}{report.get('source', 'the lake')}")),
        ("Market", escape(str(report.get("market", "")))),
        ("Checked", "PostgreSQL's daily tables against the commit" if report["what"] == "postgres" else "the lake"),
        ("Audited at", escape(str(report["at"]).replace("T", " ").replace("Z", " UTC"))),
        ("Laws", escape(_counts(report.get("laws", [])))),
    ]
    return f'<div class="panel">{facts(pairs)}</div>'


def _counts(laws: Sequence[Mapping[str, Any]]) -> str:
    numbers = {outcome: sum(law["outcome"] == outcome for law in laws) for outcome in ("passed", "failed", "no data")}
    return ", ".join(f"{number} {outcome}" for outcome, number in numbers.items() if number)


def _causes(report: Report, name: str) -> str:
    lines = report.get(name) or []
    if not lines:
        return ""
    items = "".join(f'<li class="{SEVERITY_OF_LIST[name]}">{escape(str(line))}</li>' for line in lines)
    return f'<h2>{HEADINGS[name]}</h2><div class="panel"><ul class="causes">{items}</ul></div>'


def _laws(report: Report) -> str:
    laws = report.get("laws") or []
    if not laws:
        return '<p class="quiet">This report was written by an earlier version, which did not list the laws.</p>'
    suites: Mapping[str, str] = report.get("suites", {})
    return "<h2>Laws</h2>" + "".join(
        _suite(name, [law for law in laws if law["suite"] == name], suites.get(name, ""))
        for name in dict.fromkeys(law["suite"] for law in laws)
    )


def _suite(name: str, laws: Sequence[Mapping[str, Any]], explanation: str) -> str:
    is_open = " open" if any(law["outcome"] != "passed" for law in laws) else ""
    return (
        f'<details class="panel"{is_open}><summary>{escape(name)}<span class="counts">{escape(_counts(laws))}</span>'
        f'</summary><p class="quiet">{escape(explanation)}</p>{"".join(map(_law, laws))}</details>'
    )


def _law(law: Mapping[str, Any]) -> str:
    outcome = str(law["outcome"])
    shown = "warning" if outcome == "failed" and law["severity"] == "warning" else outcome
    shown = "note" if outcome == "failed" and law["severity"] == "info" else shown
    lines = [f"<p>{escape(str(law['law']))}</p>"]
    if law["is_broken"]:
        rows = f"{law['rows']} rows, {MEANINGS[law['severity']]}" if law["rows"] else MEANINGS[law["severity"]]
        lines.append(f'<p class="quiet">{escape(rows)}</p>')
        if law.get("error"):
            lines.append(f"<p><code>{escape(str(law['error']))}</code></p>")
        if law.get("reason"):
            lines.append(f'<p class="quiet">{escape(str(law["reason"]))}</p>')
        lines.append(rows_table(law.get("failing") or []))
        if (more := law["rows"] - len(law.get("failing") or [])) > 0 and law.get("failing"):
            lines.append(f'<p class="quiet">and {more} more rows</p>')
    elif outcome == "no data":
        lines.append('<p class="quiet">there was nothing to check</p>')
    return f'<div class="law"><div>{chip(shown)}</div><div>{"".join(lines)}</div></div>'


def _is_same(report: Report, other: Report) -> bool:
    return bool(report["what"] == other["what"] and report["days"] == other["days"])


def _superseded(report: Report, others: Sequence[tuple[str, Report]]) -> str:
    newest = next(((name, other) for name, other in others if _is_same(report, other)), None)
    if newest is None or newest[1]["at"] <= report["at"]:
        return ""
    name, other = newest
    return (
        f'<p class="panel">These days of this commit were audited again at {escape(str(other["at"]))}: '
        f'<a href="../{escape(name)}/index.html">{escape(verdict_of(other))}</a>. The newest verdict counts.</p>'
    )


def _history(report: Report, others: Sequence[tuple[str, Report]]) -> str:
    if len(others) < 2:
        return ""
    rows = [
        (
            escape(str(other["at"])),
            escape(str(other["days"])),
            escape(str(other["what"])),
            chip(verdict_of(other)),
            "this page"
            if other["at"] == report["at"] and _is_same(report, other)
            # The name of a folder that we made; it is escaped all the same.
            else f'<a href="../{escape(name)}/index.html">report</a>',
        )
        for name, other in others
    ]
    return "<h2>All audits of this commit</h2>" + table(("at", "days", "checked", "verdict", ""), rows)
