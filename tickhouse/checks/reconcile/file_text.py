"""Read the lines of a recorded file.

Compressed files are unpacked in pieces. A byte-order mark is skipped, and any line ending is
accepted.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

from tickhouse.checks.reconcile.exact_values import Invalid

_PIECE = 1 << 16
_MARK = b"\xef\xbb\xbf"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes: ...


class Text:
    """The text of one file; `head` is its first part, `end` its line ending."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._cut = ""
        head = bytearray()
        for piece in self._whole_pieces():
            head += piece
            if len(head) >= _PIECE:
                break
        start = bytes(head[: _PIECE + len(_MARK)]).removeprefix(_MARK)[:_PIECE]
        self.end = b"\r" if b"\r" in start and b"\n" not in start else b"\n"
        while self.end not in head and (piece := next(self._whole_pieces(), b"")):
            head += piece
        self.head = bytes(head).removeprefix(_MARK)

    def _whole_pieces(self) -> Iterator[bytes]:
        """Yield the pieces, and remember why they ended too early."""
        while not self._cut:
            try:
                piece = next(self._pieces, b"")
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                self._cut = str(error) or "the end of the file"
                return
            if not piece:
                return
            yield piece

    def lines(self) -> Iterator[bytes]:
        """Yield every line without its end.

        Raises:
            Invalid: `truncated`, after the last whole line, when the compressed data ends too
                early.
        """
        rest = b""
        for piece in self._from_start():
            *whole, rest = (rest + piece).split(self.end)
            for line in whole:
                yield line.removesuffix(b"\r")
        if self._cut:
            raise Invalid("truncated", f"Expected the end of the compressed data, was {self._cut}.")
        yield rest.removesuffix(b"\r")

    def whole(self) -> bytes:
        """Return the whole text; for JSON documents, whose size the replay limits."""
        return b"".join(self._from_start())

    def first_lines(self, count: int) -> list[bytes]:
        """Return the first lines of the head that are not blank."""
        start = self.head[: max(_PIECE, self.head.find(self.end))]
        return [line.removesuffix(b"\r") for line in start.split(self.end) if line.strip()][:count]

    def _from_start(self) -> Iterator[bytes]:
        yield self.head
        yield from self._whole_pieces()


@contextmanager
def opened(path: Path) -> Iterator[Text]:
    """Open a plain, gzip or zip file, or gzip inside zip; the content decides, not the name."""
    with path.open("rb") as plain:
        is_zip = plain.read(4) in _ZIP
        plain.seek(0)
        if not is_zip:
            yield Text(_unpacked(plain))
            return
        with zipfile.ZipFile(plain) as archive, archive.open(_member(archive)) as member:
            yield Text(_unpacked(member))


def _member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the file in an archive; macOS adds folders and metadata files."""
    return next(
        info
        for info in archive.infolist()
        if not (info.is_dir() or info.filename.startswith("__MACOSX/") or info.filename.endswith(".DS_Store"))
    )


def _unpacked(stream: IO[bytes]) -> Iterator[bytes]:
    magic = stream.read(2)
    stream.seek(0)
    chosen: object = gzip.GzipFile(fileobj=stream) if magic == b"\x1f\x8b" else stream
    while piece := cast("_Stream", chosen).read1(_PIECE):
        yield piece
