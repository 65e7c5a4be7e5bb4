"""Offsets that Kafka removed before a streaming query had read them, as the driver recorded them.

The file is `<home>/stream/lost.jsonl`: one line per loss, and a later line for its repair.
"""

from __future__ import annotations

import json
from pathlib import Path


def unrepaired(home: Path) -> dict[str, list[str]]:
    """Return, by query, the offset ranges that were lost and not repaired, as text."""
    try:
        text = (home / "stream" / "lost.jsonl").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    lost: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            if "resolved" in entry:
                lost.pop(entry["resolved"], None)
            else:
                until = "?" if entry["until"] is None else entry["until"]
                where = f"{entry['topic']}-{entry['partition']}@{entry['first']}..{until}"
                lost[entry["lost"]] = entry["query"], f"{where} ({entry['reason']})"
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut off when the machine lost power
    by_query: dict[str, list[str]] = {}
    for query, offsets in lost.values():
        by_query.setdefault(query, []).append(offsets)
    return by_query
