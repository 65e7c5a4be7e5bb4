"""Read a replayed file of any format again (formats: docs/reference/file-formats.md).

The format is detected from the content, never from the name or from the record of the replay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tickhouse.checks.reconcile.csv_columns import ROWS_TO_LOOK_AT, columns_of
from tickhouse.checks.reconcile.csv_lines import LineReader, csv_line_reader
from tickhouse.checks.reconcile.exact_values import Invalid
from tickhouse.checks.reconcile.file_text import Text, opened
from tickhouse.checks.reconcile.json_records import Item, Source, read_record, sha_key
from tickhouse.checks.reconcile.model import Rejection

_HFT_LINE = re.compile(rb"([0-9]{13,19}) (.*)", re.DOTALL)
_CF_LINE = re.compile(rb"([0-9]{9,11}(?:\.[0-9]+)?): (.*)", re.DOTALL)


def items(path: Path, source: Source) -> Iterator[Item]:
    """Yield every trade, tick and rejection of a file, in its order.

    The `position` of a rejection is `name:line`. A compressed file that ends too early yields its
    whole lines, and then one rejection of an empty record (`truncated`).
    """
    with opened(path) as text:
        try:
            for number, item in _numbered_items(text, source):
                yield item._replace(position=f"{path.name}:{number}") if isinstance(item, Rejection) else item
        except Invalid as error:
            yield Rejection(sha_key(b""), error.reason, error.detail, path.name)


def _numbered_items(text: Text, source: Source) -> Iterator[tuple[int, Item]]:
    """Yield (line number, item)."""
    first_lines = text.first_lines(ROWS_TO_LOOK_AT + 1)
    first = first_lines[0] if first_lines else b""
    if first.lstrip()[:1] in (b"[", b"{") and not _is_one_object(first):
        for item in _whole_document(text.whole(), source):
            yield 1, item
        return
    line_reader, skipped = _choose_reader(first_lines, source)
    for number, line in enumerate(text.lines(), start=1):
        if line.strip() and line != skipped:
            for item in line_reader(line):
                yield number, item


def _is_one_object(line: bytes) -> bool:
    """Return whether a line is a whole JSON object, as in a file with one object per line."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _choose_reader(first_lines: list[bytes], source: Source) -> tuple[LineReader, bytes]:
    """Return the reader of the lines, and the first line when it only names the recorded source."""
    first = first_lines[0] if first_lines else b""
    if first.startswith((b"wss://", b"ws://")) and b" <-> " in first:
        return _reader_after(_CF_LINE, source), first
    if first.startswith((b"https://", b"http://")):
        return (lambda raw: iter(())), first  # recorded responses (depth, exchangeInfo) hold no events
    if _HFT_LINE.match(first):
        return _reader_after(_HFT_LINE, source), b""
    if first.lstrip()[:1] != b"{":
        columns = columns_of([line.decode("utf-8", "replace").strip() for line in first_lines])
        return (csv_line_reader(columns, source) if columns else lambda raw: iter(())), b""
    return (lambda raw: read_record(raw, source)), b""


def _reader_after(prefix: re.Pattern[bytes], source: Source) -> LineReader:
    """Return a reader of the record after the receiver's timestamp.

    A line without a timestamp is read whole.
    """

    def read_line(line: bytes) -> Iterator[Item]:
        match = prefix.fullmatch(line)
        return read_record(match[2] if match else line, source)

    return read_line


def _whole_document(raw: bytes, source: Source) -> Iterator[Item]:
    """Read a JSON document: an array of REST objects, each from its own bytes, or one object."""
    text = raw.decode("utf-8", "replace").strip()
    if not text.startswith("["):
        yield from read_record(raw.strip(), source)
        return
    for element in _array_elements(text):
        yield from read_record(element.encode(), source)


def _array_elements(text: str) -> Iterator[str]:
    decoder = json.JSONDecoder()
    at = _skip_separators(text, 1)
    while at < len(text) and text[at] != "]":
        try:
            end = decoder.raw_decode(text, at)[1]
        except ValueError:
            yield text[at:]
            return
        yield text[at:end]
        at = _skip_separators(text, end)


def _skip_separators(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at
