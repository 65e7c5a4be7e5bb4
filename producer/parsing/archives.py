"""Read the bytes inside a file (plain, gzip or zip) piece by piece and within limits.

Memory use is bounded by `CHUNK_BYTES`, no matter how large the unpacked file is. The error for an
unsupported file names its kind, and the error for a damaged one what is wrong. Only a gzip file
that ends too early is read as far as possible, because a recorder whose machine stops leaves such a
file.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

import msgspec

from common.errors import RejectedRecord

CHUNK_BYTES = 1 << 18  # 256 KiB: about 1,000 frames, one batch
HEAD_BYTES: Final = 1 << 16
# The ratio is not checked below 64 MiB: a short file of equal lines compresses a thousandfold.
RATIO_FREE_BYTES: Final = 1 << 26
NOTHING_SENT: Final = "Nothing was sent."

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ZIP_METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED: Final = 0x1
# All exceptions that zipfile raises on damaged bytes.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, LookupError, OverflowError, OSError,
)  # fmt: skip


class _ForeignFormat(NamedTuple):
    name: str
    to_do: str


_UNPACK = "unpack it first: {command}"
_SAVE = "save it as CSV in UTF-8"
# Kinds of files that we do not read, by their first bytes.
_REFUSED: Final = {
    b"\x28\xb5\x2f\xfd": _ForeignFormat("compressed by zstd", _UNPACK.format(command="zstd -d FILE")),
    b"\xfd7zXZ\0": _ForeignFormat("compressed by xz", _UNPACK.format(command="xz -dk FILE")),
    b"BZh": _ForeignFormat("compressed by bzip2", _UNPACK.format(command="bzip2 -dk FILE")),
    b"\x04\x22\x4d\x18": _ForeignFormat("compressed by lz4", _UNPACK.format(command="lz4 -d FILE")),
    b"\xff\x06\0\0sNaPpY": _ForeignFormat("compressed by snappy", "unpack it first"),
    b"LZIP": _ForeignFormat("compressed by lzip", _UNPACK.format(command="lzip -dk FILE")),
    b"\x1f\x9d": _ForeignFormat("compressed by compress", _UNPACK.format(command="gzip -d FILE")),
    b"7z\xbc\xaf\x27\x1c": _ForeignFormat("a 7z archive", _UNPACK.format(command="7z x FILE")),
    b"Rar!": _ForeignFormat("a RAR archive", _UNPACK.format(command="unrar x FILE")),
    b"PAR1": _ForeignFormat("a Parquet file", _SAVE),
    b"ARROW1": _ForeignFormat("an Arrow file", _SAVE),
    b"FEA1": _ForeignFormat("a Feather file", _SAVE),
    b"\x89HDF": _ForeignFormat("an HDF5 file", _SAVE),
    b"SQLite format 3": _ForeignFormat("an SQLite database", _SAVE),
    b"\xd0\xcf\x11\xe0": _ForeignFormat("a spreadsheet (xls)", _SAVE),
    b"%PDF": _ForeignFormat("a PDF", "give the file with the trades"),
    b"\xff\xfe\0\0": _ForeignFormat("text in UTF-32", "convert it first: iconv -f UTF-32 -t UTF-8 FILE"),
    b"\xff\xfe": _ForeignFormat("text in UTF-16", "convert it first: iconv -f UTF-16 -t UTF-8 FILE"),
    b"\xfe\xff": _ForeignFormat("text in UTF-16", "convert it first: iconv -f UTF-16 -t UTF-8 FILE"),
    b"<": _ForeignFormat("a web page or XML, as servers send instead of a file", "download it again"),
}
_TAR_AT: Final = 257


class Limits(msgspec.Struct, frozen=True):
    """Limits of one file; each is a setting, `REPLAY_MAX_<NAME>`."""

    # Unpacked size divided by packed size. Compression shrinks trades to a fifth of their size, and
    # equal frames to a fiftieth.
    ratio: int = 200
    unpacked_bytes: int = 1 << 36  # 64 GiB; the busiest month of single trades has about 15
    lines: int = 1_000_000_000
    line_bytes: int = 1 << 24  # 16 MiB
    document_bytes: int = 1 << 26  # 64 MiB: the largest REST response, exchangeInfo, has about 20 MB


class CutShort(RejectedRecord):
    """The compressed data ends before its end mark; everything before that was read."""


def refused(reason: str, detail: str, to_do: str = "") -> RejectedRecord:
    """Return the error for a file that is refused before any event of it was sent."""
    error = RejectedRecord(reason, detail)
    error.safe, error.next_command = NOTHING_SENT, to_do
    return error


def over_limit(name: str, limit: int, what: str) -> RejectedRecord:
    """Return the error for a file beyond one of `Limits`; it explains how to raise that limit."""
    setting = f"REPLAY_MAX_{name.upper()}"
    to_do = f"if the file is correct, run the command again with {setting} set to more than {limit}"
    return refused("over_limit", f"Expected at most {limit:,} ({setting}), was {what}", to_do)


class UnpackedFile:
    """The unpacked bytes of one open file.

    Args:
        path: Its path, for messages and its size.
        raw: The open file.
        limits: Limits, which are checked while reading.
    """

    def __init__(self, path: Path, raw: IO[bytes], limits: Limits) -> None:
        self._name, self._raw, self._limits = path.name, raw, limits
        self.packed_bytes = path.stat().st_size

    @property
    def position(self) -> int:
        """Return how many bytes of the packed file were read."""
        return min(self._raw.tell(), self.packed_bytes)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most `CHUNK_BYTES`.

        Raises:
            RejectedRecord: `unknown_format`, `truncated` (damaged) or `over_limit`.
            CutShort: The gzip data is not complete; raised after all that could be read.
        """
        head = self._raw.read(HEAD_BYTES)
        self._raw.seek(0)
        pieces = self._zip_member() if head.startswith(_ZIP) else _pieces(self._raw)
        first = next(pieces, b"")
        if first.startswith(_GZIP):
            pieces = _gunzip(_prepend(first, pieces))
            first = next(pieces, b"")
        refuse_other_kinds(first)
        whole = _prepend(first, pieces)
        yield from self._bounded(whole) if head.startswith((*_ZIP, _GZIP)) else whole

    def _bounded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        total = 0
        for piece in pieces:
            total += len(piece)
            self._check_size(total)
            yield piece

    def _check_size(self, unpacked: int) -> None:
        limits = self._limits
        if unpacked > limits.unpacked_bytes:
            raise over_limit("unpacked_bytes", limits.unpacked_bytes, f"{self._name}, which unpacks to more bytes")
        if unpacked > max(RATIO_FREE_BYTES, self.packed_bytes * limits.ratio):
            raise over_limit("ratio", limits.ratio, f"{self._name}, which unpacks to more times its own size")

    def _zip_member(self) -> Iterator[bytes]:
        """Yield the only file of a zip archive; errors of zipfile become `RejectedRecord`."""
        try:
            with zipfile.ZipFile(self._raw) as archive:
                info = _only_member(archive, self._name)
                self._check_size(info.file_size)
                stream = archive.open(info)
        except _ZIP_ERRORS as error:
            raise _damaged(self._name, error) from error
        with stream:
            while piece := self._read(stream):
                yield piece

    def _read(self, stream: IO[bytes]) -> bytes:
        try:
            return stream.read(CHUNK_BYTES)
        except _ZIP_ERRORS as error:
            raise _damaged(self._name, error) from error


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[UnpackedFile]:
    """Open a file to read its unpacked bytes."""
    with path.open("rb") as raw:
        yield UnpackedFile(path, raw, limits)


def refuse_other_kinds(head: bytes) -> None:
    """Refuse a file that is neither text, gzip nor zip.

    Raises:
        RejectedRecord: `unknown_format`, with the kind of file and what to do.
    """
    start = head[:64].lstrip()
    kind = next((kind for magic, kind in _REFUSED.items() if head.startswith(magic) or start.startswith(magic)), None)
    if kind is None and head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        kind = _ForeignFormat("a tar archive", _UNPACK.format(command="tar -xf FILE"))
    if kind is None and b"\0" in head[:512]:
        kind = _ForeignFormat("binary data or text in UTF-16", "if it is text, save it in UTF-8")
    if kind is not None:
        raise refused("unknown_format", f"Expected text, gzip or zip, was {kind.name}", kind.to_do)


def is_side_file(name: str) -> bool:
    """Return whether a member of an archive is one that macOS adds."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store"


def _only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    infos = [info for info in archive.infolist() if not info.is_dir() and not is_side_file(info.filename)]
    if len(infos) != 1:
        raise refused("unknown_format", *_wrong_member_count(name, [info.filename for info in infos]))
    [info] = infos
    if info.flag_bits & _ENCRYPTED:
        raise refused("unknown_format", f"Expected a zip without a password, was {name}", "unpack it first")
    if info.compress_type not in _ZIP_METHODS:
        method = zipfile.compressor_names.get(info.compress_type, f"number {info.compress_type}")  # type: ignore[attr-defined]
        detail = f"Expected a zip member that is stored or deflated, was method {method}"
        raise refused("unknown_format", detail, "unpack it first, or pack it again by deflate")
    return info


def _wrong_member_count(name: str, members: list[str]) -> tuple[str, str]:
    if "[Content_Types].xml" in members:
        return f"Expected text, gzip or zip, was a spreadsheet or document ({name})", _SAVE
    shown = ", ".join(f"{member[:80]!r}" for member in members[:5]) + (", …" if len(members) > 5 else "")
    return f"Expected one file in {name}, was {len(members)}: {shown or 'none'}", "unpack it and replay each file"


def _damaged(name: str, error: Exception) -> RejectedRecord:
    return refused("truncated", f"Expected a whole zip file, was {name}: {str(error)[:200]}", "download it again")


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(CHUNK_BYTES):
        yield piece


def _prepend(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack gzip data of one or more members, at most `CHUNK_BYTES` at a time."""
    engine, has_member = zlib.decompressobj(wbits=31), False
    for packed in pieces:
        rest = packed
        while rest:
            if not has_member:
                rest = rest.lstrip(b"\0")  # padding between members
                has_member = bool(rest)
                continue
            yield from _inflate(engine, rest)
            if not engine.eof:
                break
            rest, has_member, engine = engine.unused_data, False, zlib.decompressobj(wbits=31)
    if has_member:
        raise CutShort("truncated", "Expected the end mark of the gzip data, was the end of the file")


def _inflate(engine: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    """Unpack the part of `packed` that belongs to one gzip member."""
    while True:
        try:
            piece = engine.decompress(packed, CHUNK_BYTES)
        except zlib.error as error:
            raise refused("truncated", f"Expected whole gzip data, was {error}", "fetch the file again") from error
        if piece:
            yield piece
        packed = engine.unconsumed_tail
        if engine.eof or (not packed and len(piece) < CHUNK_BYTES):
            return
