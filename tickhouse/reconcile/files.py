"""Read a replayed file again, whatever its format, from its first byte (formats: shared/data/README.md).

Sniffing goes by content, never by name, and never by what the replay noted about the format.
"""

from __future__ import annotations

import gzip
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tickhouse.reconcile.frames import Item, Source, judge, sha_key
from tickhouse.reconcile.lines import LineJudge, archive_judge, archive_layout, flattened_judge
from tickhouse.reconcile.model import Rejection

ByteStream = IO[bytes] | gzip.GzipFile

_HFT_LINE = re.compile(rb"([0-9]{13,19}) (.*)", re.DOTALL)
_CF_LINE = re.compile(rb"([0-9]{9,11}(?:\.[0-9]+)?): (.*)", re.DOTALL)
_ARCHIVE_LINE = re.compile(rb"[0-9]+,[^,]+,[^,]+,|(agg_trade_id|id|open_time),")


def items(path: Path, source: Source) -> Iterator[Item]:
    """Yield every trade, tick and rejection of a file, in its order; `position` of a rejection is `name:line`.

    A compressed file that ends too early yields the lines that are whole and one rejection of nothing (`truncated`).
    """
    with _opened(path) as stream:
        try:
            for number, item in _located(stream, source):
                yield item._replace(position=f"{path.name}:{number}") if isinstance(item, Rejection) else item
        except (EOFError, zlib.error) as error:
            yield Rejection(sha_key(b""), "truncated", str(error), path.name)


@contextmanager
def _opened(path: Path) -> Iterator[ByteStream]:
    with path.open("rb") as plain:
        magic = plain.read(4)
        plain.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(plain) as unpacked:
                yield unpacked
        elif magic == b"PK\x03\x04":
            with zipfile.ZipFile(plain) as archive, archive.open(archive.namelist()[0]) as member:
                yield member
        else:
            yield plain


def _located(stream: ByteStream, source: Source) -> Iterator[tuple[int, Item]]:
    first = stream.readline()
    if first.lstrip()[:1] in (b"[", b"{") and not _is_one_object(first):
        for item in _whole_document(first + stream.read(), source):
            yield 1, item
        return
    line_judge, skip_first = _line_judge(first, source)
    for number, line in enumerate(_lines(first, stream), start=1):
        if line and not (skip_first and number == 1):
            for item in line_judge(line):
                yield number, item


def _lines(first: bytes, stream: ByteStream) -> Iterator[bytes]:
    yield first.rstrip(b"\r\n")
    for line in stream:
        yield line.rstrip(b"\r\n")


def _is_one_object(line: bytes) -> bool:
    """Tell a file of one object a line from a pretty-printed document: only in the former is line one whole."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _line_judge(first: bytes, source: Source) -> tuple[LineJudge, bool]:
    """Choose how to read the lines; the flag says that line one is a header."""
    if first.startswith((b"wss://", b"ws://")) and b" <-> " in first:
        return _after(_CF_LINE, source), True
    if first.startswith((b"https://", b"http://")):
        return (lambda raw: iter(())), True  # recorded depth and exchangeInfo answers: nothing in them is an event
    if first.startswith(b"TimestampOfReceive,"):
        return flattened_judge(source), True
    if _HFT_LINE.match(first):
        return _after(_HFT_LINE, source), False
    if _ARCHIVE_LINE.match(first):
        columns = first.decode().strip().split(",")
        return archive_judge(archive_layout(columns), source), not columns[0].isdigit()
    return (lambda raw: judge(raw, source)), False


def _after(prefix: re.Pattern[bytes], source: Source) -> LineJudge:
    """Return a judge for what follows the receiver's timestamp; a line without one is judged whole."""

    def judge_line(line: bytes) -> Iterator[Item]:
        match = prefix.fullmatch(line)
        return judge(match[2] if match else line, source)

    return judge_line


def _whole_document(raw: bytes, source: Source) -> Iterator[Item]:
    """Judge a JSON document: an array of REST objects, each by its own bytes, or one object."""
    text = raw.decode("utf-8", "replace").strip()
    if not text.startswith("["):
        yield from judge(raw.strip(), source)
        return
    for element in _elements(text):
        yield from judge(element.encode(), source)


def _elements(text: str) -> Iterator[str]:
    decoder = json.JSONDecoder()
    at = _skip(text, 1)
    while at < len(text) and text[at] != "]":
        try:
            end = decoder.raw_decode(text, at)[1]
        except ValueError:
            yield text[at:]
            return
        yield text[at:end]
        at = _skip(text, end)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at
