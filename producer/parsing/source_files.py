"""Read recorded files (plain, gzip or zip) as batches of lines.

A file is read twice. The first pass sends nothing: it unpacks everything, so that a damaged file,
or one beyond a limit, is refused before any event is sent. The second pass yields the lines. A
checksum file beside the file is verified.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from common.errors import ConfigurationError, RejectedRecord
from producer.events import Line
from producer.parsing.archives import (
    CHUNK_BYTES,
    HEAD_BYTES,
    NOTHING_SENT,
    CutShort,
    Limits,
    UnpackedFile,
    opened,
    over_limit,
    refused,
)
from producer.parsing.derived_columns import ContractSize
from producer.parsing.format_detection import FileFormat, FileHints, detect_format

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# Strings come first, so that brackets inside them do not count.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_DEEPER: Final = (b"[", b"{")


class SourceFile(msgspec.Struct, frozen=True):
    """One file to replay: its path, its format, and the sha256 of its (packed) bytes."""

    path: Path
    sha256: str
    size: int
    format: FileFormat
    checksum: str  # "verified", or why not
    line_end: bytes = b"\n"
    limits: Limits = Limits()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_source(
    path: Path,
    symbol: str | None = None,
    *,
    market: str = "",
    limits: Limits | None = None,
    contract_size: ContractSize | None = None,
) -> SourceFile:
    """Read a file once without sending anything, and return how to read it.

    Args:
        path: The file.
        symbol: Its symbol, when neither its lines nor its name contain it.
        market: spot, usdm or coinm. It decides what the fourth column of single trades without a
            header is.
        limits: Limits of the file.
        contract_size: Units of the quote currency per contract, to compare `base_qty`.

    Raises:
        ConfigurationError: There is no such file, or its symbol is not known.
        RejectedRecord: `unknown_format`, `over_limit`, or `truncated` when it is damaged or does
            not match its checksum.
    """
    _require_file(path)
    digest = sha256_of(path)
    checksum = verify_checksum(path, digest)
    limits = limits or Limits()
    inspection = _inspect(path, limits)
    lines = inspection.first_lines()
    if not lines:
        raise refused("unknown_format", "Expected trades or frames, was an empty file")
    form = detect_format(lines, inspection.head, FileHints(path.name, symbol, market, contract_size))
    inspection.check(form, limits, path.name)
    source = SourceFile(path.resolve(), digest, path.stat().st_size, form, checksum, inspection.line_end, limits)
    if form.is_document:
        _check_document(source)
    return source


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigurationError(f"There is no file {path}.", safe=NOTHING_SENT)
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"The file name {path.name!a} is not UTF-8, so it cannot be recorded.",
            safe=NOTHING_SENT,
            next_command="rename the file, then run the command again",
        ) from error


def verify_checksum(path: Path, digest: str) -> str:
    """Compare a file with `<file>.CHECKSUM` beside it.

    Its content is `<sha256>  <name>`, as in Binance's archive.

    Raises:
        RejectedRecord: `truncated` when the file differs from the published one.
    """
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.is_file():
        return "no CHECKSUM file beside it"
    expected = beside.read_text(encoding="utf-8", errors="replace").split()[:1]
    if expected != [digest]:
        raise RejectedRecord("truncated", f"Expected sha256 {expected} of {beside.name}, was {digest}")
    return "verified"


class _Inspection:
    """Counts of the first pass. Only the first lines are kept."""

    def __init__(self) -> None:
        self.head = b""
        self.line_end = b"\n"
        self.size = self.lines = self.longest = 0
        self._open_line = 0
        self._has_line = False

    def add(self, chunk: bytes, limits: Limits) -> None:
        """Count one piece.

        The first piece holds the whole head, unless the first line is longer.
        """
        self._take_head(chunk, limits)
        self.size += len(chunk)
        ends = chunk.count(self.line_end)
        self.lines += ends
        if self.lines > limits.lines:
            raise over_limit("lines", limits.lines, "a file with more lines")
        if not ends:
            self._open_line += len(chunk)
        else:
            self.longest = max(self.longest, self._open_line + chunk.find(self.line_end))
            self._open_line = len(chunk) - chunk.rfind(self.line_end) - 1
            if limits.line_bytes < len(chunk):
                self.longest = max(self.longest, *map(len, chunk.split(self.line_end)[1:]))
        self.longest = max(self.longest, self._open_line)

    def _take_head(self, chunk: bytes, limits: Limits) -> None:
        """Keep the first bytes, and the whole first line up to the limit of a line."""
        if not self.size:
            self.head, chunk = chunk[:HEAD_BYTES], chunk[HEAD_BYTES:]
            self.line_end = _line_end(self.head)
            self._has_line = self.line_end in self.head
        if not self._has_line:
            end = chunk.find(self.line_end)
            self.head += chunk if end < 0 else chunk[: end + 1]
            self._has_line = end >= 0 or len(self.head) > limits.line_bytes

    def first_lines(self) -> list[bytes]:
        """Return the lines of the head that are complete and not blank."""
        parts = self.head.split(self.line_end)
        if self.size > len(self.head) and len(parts) > 1:
            parts.pop()
        return [line.rstrip(b"\r") for line in parts if line.strip()]

    def check(self, form: FileFormat, limits: Limits, name: str) -> None:
        """Refuse a document or line that is too long for memory.

        Raises:
            RejectedRecord: `over_limit`.
        """
        if form.is_document and self.size > limits.document_bytes:
            raise over_limit("document_bytes", limits.document_bytes, f"{name}, a JSON document of {self.size:,} bytes")
        if not form.is_document and self.longest > limits.line_bytes:
            raise over_limit("line_bytes", limits.line_bytes, f"{name}, which has a line of {self.longest:,} bytes")


def _line_end(head: bytes) -> bytes:
    """Return the end of a line: LF (also after CR), or CR in a file without LF."""
    return b"\r" if b"\r" in head and b"\n" not in head else b"\n"


def _inspect(path: Path, limits: Limits) -> _Inspection:
    inspection = _Inspection()
    with opened(path, limits) as unpacked:
        try:
            for chunk in _text(unpacked):
                inspection.add(chunk, limits)
        except CutShort as error:
            if not inspection.size:
                raise refused(error.reason, error.detail, "fetch the file again") from error
    return inspection


def _text(unpacked: UnpackedFile) -> Iterator[bytes]:
    """Yield the unpacked bytes without a byte-order mark; the first piece holds the whole head."""
    head, has_head = b"", False
    try:
        for piece in unpacked.chunks():
            if has_head:
                yield piece
                continue
            head += piece
            if len(head) >= HEAD_BYTES:
                has_head = True
                yield head.removeprefix(_BYTE_ORDER_MARK)
    except CutShort:
        if not has_head and head:
            yield head.removeprefix(_BYTE_ORDER_MARK)
        raise
    if not has_head and head:
        yield head.removeprefix(_BYTE_ORDER_MARK)


def batches(source: SourceFile) -> Iterator[tuple[list[Line], int]]:
    """Yield (lines, bytes of the file read so far).

    Raises:
        RejectedRecord: `truncated`, after everything that could be read was yielded.
    """
    with opened(source.path, source.limits) as unpacked:
        if source.format.is_document:
            yield from _document(unpacked, source)
        else:
            yield from _split(unpacked, source)


def _split(unpacked: UnpackedFile, source: SourceFile) -> Iterator[tuple[list[Line], int]]:
    split, end, number, rest = source.format.split, source.line_end, 0, b""
    for chunk in _text(unpacked):
        if not rest and chunk.endswith(end) and not chunk.strip(b"\r\n"):
            number += chunk.count(end)  # nothing but line ends
            continue
        lines = (rest + chunk).split(end)
        rest = lines.pop()
        batch: list[Line] = []
        for line in lines:
            number += 1
            parts = split(line[:-1] if line.endswith(b"\r") else line)
            if parts is not None:
                batch.append((parts[1], parts[0], number))
        yield batch, unpacked.position
        if len(rest) > source.limits.line_bytes:
            raise over_limit(
                "line_bytes", source.limits.line_bytes, "a longer line: the file changed while it was read"
            )
    last = split(rest.removesuffix(b"\r"))
    if last is not None:
        yield [(last[1], last[0], number + 1)], source.size


def _body(unpacked: UnpackedFile, limits: Limits) -> bytes:
    body = bytearray()
    for piece in _text(unpacked):
        body += piece
        if len(body) > limits.document_bytes:
            raise over_limit("document_bytes", limits.document_bytes, "a longer JSON document")
    return bytes(body).strip()


def _check_document(source: SourceFile) -> None:
    """Refuse a JSON document that is not complete.

    Raises:
        RejectedRecord: `truncated`, `invalid_json` or `not_utf8`.
    """
    with opened(source.path, source.limits) as unpacked:
        body = _body(unpacked, source.limits)
    try:
        body.decode()
        msgspec.json.decode(body, type=msgspec.Raw)  # validates all of it without building objects
    except UnicodeDecodeError as error:
        raise refused("not_utf8", f"Expected JSON in UTF-8, was {error.reason}", "save it in UTF-8") from error
    except (msgspec.DecodeError, RecursionError) as error:
        reason = "truncated" if "truncated" in str(error) else "invalid_json"
        raise refused(reason, f"Expected a whole JSON document, was {error}", "fetch the file again") from error


def _document(unpacked: UnpackedFile, source: SourceFile) -> Iterator[tuple[list[Line], int]]:
    body = _body(unpacked, source.limits)
    if not body.startswith(b"["):
        yield [(body, None, 1)], source.size
        return
    batch: list[Line] = []
    held = 0
    for number, element in enumerate(_elements(body), 1):
        batch.append((element, None, number))
        held += len(element)
        if held > CHUNK_BYTES:
            yield batch, min(held, source.size)
            batch, held = [], 0
    yield batch, source.size


def _elements(body: bytes) -> Iterator[bytes]:
    """Yield the elements of a complete JSON array one at a time, each as it is written."""
    depth, start = 0, 1
    for token in _TOKEN.finditer(body):
        mark = token[0]
        if mark in _DEEPER:
            depth += 1
        elif depth == 1 and mark in (b",", b"]"):
            element = body[start : token.start()].strip()
            if element:
                yield element
            start = token.end()
            depth -= mark == b"]"
        elif mark in (b"]", b"}"):
            depth -= 1
