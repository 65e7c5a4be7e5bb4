"""The picture in docs/how-to/follow-the-lineage.md. No I/O."""

from __future__ import annotations

import re

_PICTURE = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def with_picture(page: str, picture: str) -> str:
    """Return the page with this flowchart in place of the one that it has.

    Raises:
        ValueError: The page does not have exactly one flowchart.
    """
    found = _PICTURE.findall(page)
    if len(found) != 1:
        raise ValueError(f"Expected one flowchart in the page, was {len(found)}.")
    return page.replace(found[0], f"```mermaid\n{picture}```\n")
