"""Read the heads of branches from the data folder while the stand-in is stopped."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

METADATA = "metadata.sqlite3"


def branch_heads(data: Path, repository: str) -> dict[str, str]:
    """Return commit by branch; empty when there is no such repository or data folder.

    After a kill, this also brings the database in order, as the next start would.
    """
    path = data / METADATA
    if not path.is_file():
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=10)) as connection:
        query = "SELECT name, head FROM branches WHERE repository = ? AND hidden = 0 ORDER BY name"
        return dict(connection.execute(query, [repository]).fetchall())
