"""Search the log files themselves: newest lines of each file, within a limit of bytes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tickhouse.logs.parsing import parse_message
from tickhouse.logs.query import LogQuery
from tickhouse.logs.sources import LogSources

# Of each file its last bytes: a file has at most 20 MB, and 8 MiB are parsed in about a second.
MOST_BYTES = 8 * 1024 * 1024


def search_files(home: Path, sources: LogSources, query: LogQuery) -> tuple[list[dict[str, Any]], int, int]:
    """Return (newest matching messages, oldest first; number of all matches; bytes not read).

    Args:
        home: The folder that contains `logs`.
        sources: The declaration.
        query: What to find.
    """
    found: list[dict[str, Any]] = []
    unread = 0
    for path in _files(home, sources):
        status = path.stat()
        changed = datetime.fromtimestamp(status.st_mtime, UTC)
        if changed < query.since:
            continue
        unread += max(0, status.st_size - MOST_BYTES)
        name = path.relative_to(home).as_posix()
        messages = (
            parse_message(sources, name, text, at, changed).fields for at, text in _messages(path, name, sources)
        )
        found += [fields for fields in messages if matches(fields, query)]
    found.sort(key=lambda fields: (fields["@timestamp"], fields["log.offset"]))
    return found[-query.limit :] if query.limit else [], len(found), unread


def matches(fields: dict[str, Any], query: LogQuery) -> bool:
    """Return whether a message is what a query asks for (pure)."""
    if fields["@timestamp"] < query.since.astimezone(UTC).isoformat() or fields["log.level"] not in query.levels:
        return False
    if query.services and fields["service.name"] not in query.services:
        return False
    text = json.dumps(fields, ensure_ascii=False, default=str).casefold()
    return all(json.dumps(word, ensure_ascii=False)[1:-1].casefold() in text for word in query.words)


def _files(home: Path, sources: LogSources) -> Iterator[Path]:
    for program in sources.programs:
        yield from sorted((home / "logs").glob(f"{program}.log*"))
    for files in sources.files.values():
        for pattern in files.paths:
            yield from sorted(home.glob(pattern))


def _messages(path: Path, name: str, sources: LogSources) -> Iterator[tuple[int, str]]:
    """Yield (offset, text) of the messages at the end of a file."""
    starts = [one.start.replace("[[]", r"\[") for one in sources.source_of(name)[1]]
    start = re.compile(f"(?:{'|'.join(starts)})")
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = file.seek(max(0, size - MOST_BYTES))
        if begin:
            begin += len(file.readline())  # the rest of a line whose beginning is not read
        at, text = begin, ""
        for line in file:
            decoded = line.decode("utf-8", "replace")
            if text and start.match(decoded):
                yield at, text
                text = ""
            if not text:
                at = begin
            text += decoded
            begin += len(line)
        if text.strip():
            yield at, text
