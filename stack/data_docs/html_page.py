"""The frame of the reports' pages: static HTML that loads nothing. No I/O but for the style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

STYLE = Path(__file__).with_name("page.css")
# Mark and class of each state; the word is always beside the mark.
CHIPS: Final = {
    "passed": ("✓", "passed"),
    "failed": ("✗", "failed"),
    "no data": ("○", "no-data"),
    "passed with warnings": ("!", "warned"),
    "warning": ("!", "warned"),
    "note": ("i", "noted"),
}


@cache
def _style() -> str:
    return STYLE.read_text()


def page(title: str, body: str, *, banner: str = "", links: Mapping[str, str] | None = None) -> str:
    """Return a whole page.

    Args:
        title: Text of the title.
        body: HTML.
        banner: Text at the top, such as that the market is synthetic.
        links: Address by text, for the line at the top.
    """
    top = f'<div class="simulated">{escape(banner)}</div>' if banner else ""
    navigation = "".join(f'<a href="{escape(url)}">{escape(text)}</a>' for text, url in (links or {}).items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{_style()}</style></head>\n"
        f"<body>{top}<main><nav>{navigation}</nav>\n{body}</main></body></html>\n"
    )


def chip(state: str) -> str:
    """Return a state as a coloured word with a mark."""
    mark, style = CHIPS.get(state, ("", "noted"))
    return f'<span class="chip {style}">{mark} {escape(state)}</span>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and values; the values are HTML, and empty ones are left out."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in pairs if value) + "</dl>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that becomes a list on a narrow screen; the cells are HTML."""
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-name="{escape(head)}">{cell}</td>' for head, cell in zip(heads, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<table class="wide"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of values as a table that scrolls where it is too wide."""
    if not rows:
        return ""
    top = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row.values()) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="rows"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
