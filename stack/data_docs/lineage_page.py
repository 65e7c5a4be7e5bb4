"""The page of what a publication was made from. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from stack.data_docs.html_page import facts, page


def lineage_page(tree: Mapping[str, Any], days: str, at: str, banner: str = "") -> str:
    """Return the page of a tree of data, as `tickhouse lineage TABLE --json` prints it.

    Args:
        tree: `name`, `version`, `offsets`, `made_by` and `from`, which holds trees.
        days: The published days.
        at: When they were published.
        banner: Text at the top.
    """
    commit_id = str(tree["version"])
    published = facts([("Published at", escape(at)), ("Commit", f"<code>{escape(commit_id)}</code>")])
    body = (
        f"<h1>What {escape(days)} was made from</h1>"
        f'<div class="panel">{published}</div>'
        f'<div class="panel">{_node(tree)}</div>'
        f'<p class="quiet">Any other table: <code>tickhouse lineage TABLE@{escape(commit_id[:16])}</code>; '
        "an event: <code>tickhouse lineage EVENT_ID</code>.</p>"
    )
    return page(f"Lineage of {days}", body, banner=banner, links={"Reports": "../index.html"})


def _node(tree: Mapping[str, Any]) -> str:
    version = f" at commit <code>{escape(str(tree['version'])[:16])}</code>" if tree.get("version") else ""
    spans = tree.get("offsets") or {}
    records = sum(end - first for first, end in spans.values())
    offsets = f": {records:,} offsets in {len(spans)} partitions" if spans else ""
    made = tree.get("made_by")
    run = ""
    if made:
        of_days = f" for {escape(str(made['days']))}" if made.get("days") else ""
        run = f'<p class="quiet">made by {escape(str(made["job"]))}{of_days} at {escape(str(made["at"]))}, from</p>'
    parents = "".join(f"<li>{_node(parent)}</li>" for parent in tree.get("from", ()))
    return f"<strong>{escape(str(tree['name']))}</strong>{version}{offsets}{run}" + (
        f"<ul>{parents}</ul>" if parents else ""
    )
