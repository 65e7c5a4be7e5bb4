"""Read the repository's Markdown pages: fenced blocks, links, anchors, tables, named files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from common.settings import REPO

SKIPPED = {".venv", ".tickhouse", ".git", ".pytest_cache", ".hypothesis", "node_modules", "target"}
_CODE = re.compile(r"`([^`]+)`")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def files(*suffixes: str) -> list[Path]:
    """Return every file of the repository with one of these suffixes."""
    found = (path for path in REPO.rglob("*") if path.suffix in suffixes and path.is_file())
    return sorted(path for path in found if not SKIPPED & set(path.relative_to(REPO).parts))


def pages() -> list[Path]:
    """Return every Markdown page of the repository."""
    return files(".md")


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


def prose_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) outside blocks of code, tables and headings."""
    is_code = False
    for number, line in enumerate(text.splitlines(), start=1):
        is_code ^= line.startswith("```")
        if not is_code and not line.startswith(("```", "    ", "|", "#")):
            yield number, line


def code_pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of every code span, and of every line of a block of code."""
    is_code = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            is_code = not is_code
        elif is_code or line.startswith("    "):
            yield number, line
        else:
            yield from ((number, span) for span in _CODE.findall(line))


def table_rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head and code marks."""
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
