"""The repository's Markdown pages, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tickhouse.settings import REPO

SKIPPED = {".venv", ".tickhouse", ".git", ".pytest_cache", ".hypothesis", "node_modules", "target"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """Return every Markdown page of the repository."""
    return [path for path in sorted(REPO.rglob("*.md")) if not SKIPPED & set(path.relative_to(REPO).parts)]


def fenced(text: str, language: str) -> Iterator[str]:
    """Yield the fenced blocks of one language."""
    return (block for found, block in _FENCE.findall(text) if found == language)


def links(text: str) -> list[str]:
    """Return the targets of all links outside fenced blocks."""
    return _LINK.findall(_FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table_rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head; code marks are taken off."""
    _, found, below = text.partition(f"{heading}\n")
    if not found:
        raise ValueError(f"Expected a heading {heading!r}.")
    lines = below.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows
