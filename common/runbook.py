"""Where the pages of the runbook are: one per alert, kind of error and check of `doctor`."""

from __future__ import annotations

from typing import Final

FOLDER: Final = "docs/runbook"


def page_path(name: str) -> str:
    """Return the path of a page, relative to the repository."""
    return f"{FOLDER}/{name}.md"
