"""Recorded files to batches of lines: plain, gzip or zip, with the checksum beside an archive verified."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from producer.sniff import Format, sniff
from tickhouse.errors import ConfigurationError, RejectedRecord

CHUNK_BYTES = 1 << 18  # 256 KiB: about 1,000 frames, one batch
HEAD_BYTES = 1 << 16
MAX_DOCUMENT_BYTES = 1 << 26  # 64 MiB: the largest REST answer is about 15 MiB (exchangeInfo)

# (payload, received µs or None, line number from 1)
Line = tuple[bytes, "int | None", int]


class SourceFile(msgspec.Struct, frozen=True):
    """One file to replay: where, what it holds, and the sha256 of its bytes as they lie on disk."""

    path: Path
    sha256: str
    size: int
    format: Format
    checksum: str  # "verified", or why it was not


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_source(path: Path, symbol: str | None = None) -> SourceFile:
    """Look at a file and tell how to read it.

    Raises:
        ConfigurationError: It is not there, or does not say its symbol.
        RejectedRecord: `unknown_format`, or `truncated` when its checksum file says otherwise.
    """
    if not path.is_file():
        raise ConfigurationError(f"There is no file {path}.")
    digest = sha256_of(path)
    checksum = verify_checksum(path, digest)
    first, head = _peek(path)
    if not first:
        raise RejectedRecord("unknown_format", "Expected trades or frames, was an empty file")
    return SourceFile(path.resolve(), digest, path.stat().st_size, sniff(first, head, path.name, symbol), checksum)


def verify_checksum(path: Path, digest: str) -> str:
    """Compare a file with `<file>.CHECKSUM` beside it (`<sha256>  <name>`, as Binance's archive has it).

    Raises:
        RejectedRecord: `truncated`: the bytes are not the ones that were published.
    """
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.is_file():
        return "no CHECKSUM file beside it"
    expected = beside.read_text(encoding="utf-8", errors="replace").split()[:1]
    if expected != [digest]:
        raise RejectedRecord("truncated", f"Expected sha256 {expected} of {beside.name}, was {digest}")
    return "verified"


def _peek(path: Path) -> tuple[bytes, bytes]:
    head = b""
    with _open(path) as stream:
        for chunk in _chunks(stream):
            head += chunk
            if len(head) >= HEAD_BYTES:
                break
    first = next((line.rstrip(b"\r") for line in head.split(b"\n") if line.strip()), b"")
    return first, head


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        if raw.read(4) == b"PK\x03\x04":
            with _member(path, raw) as stream:
                yield stream
        else:
            raw.seek(0)
            yield raw


@contextmanager
def _member(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    try:
        with zipfile.ZipFile(raw) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            if len(names) != 1:
                raise RejectedRecord("unknown_format", f"Expected one file in {path.name}, was {names[:5]}")
            with archive.open(names[0]) as stream:
                yield stream
    except zipfile.BadZipFile as error:
        raise RejectedRecord("truncated", f"Expected a whole zip file, was {path.name}: {error}") from error


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield a stream's bytes, unpacked when gzip; all that can be read is yielded before `truncated` is raised."""
    head = stream.read(CHUNK_BYTES)
    if head[:2] != b"\x1f\x8b":
        yield head
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
        return
    yield from _gunzip(stream, head)


def _gunzip(stream: IO[bytes], packed: bytes) -> Iterator[bytes]:
    engine = zlib.decompressobj(wbits=31)
    while packed:
        try:
            yield engine.decompress(packed)
        except zlib.error as error:
            raise RejectedRecord("truncated", f"Expected gzip data, was {error}") from error
        # A gzip file may be several members one after another.
        if engine.eof:
            packed = engine.unused_data.lstrip(b"\0")
            engine = zlib.decompressobj(wbits=31)
            packed = packed or stream.read(CHUNK_BYTES)
            if not packed:
                return
        else:
            packed = stream.read(CHUNK_BYTES)
    raise RejectedRecord("truncated", "Expected the end mark of the gzip data, was the end of the file")


def batches(source: SourceFile) -> Iterator[tuple[list[Line], int]]:
    """Yield (lines, bytes of the file read so far).

    Raises:
        RejectedRecord: `truncated`, after all that could be read was yielded.
    """
    with _open(source.path) as stream:
        if source.format.is_document:
            yield _document(stream), source.size
        else:
            yield from _split(stream, source)


def _split(stream: IO[bytes], source: SourceFile) -> Iterator[tuple[list[Line], int]]:
    split, number, rest = source.format.split, 0, b""
    for chunk in _chunks(stream):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        batch: list[Line] = []
        for line in lines:
            number += 1
            parts = split(line[:-1] if line.endswith(b"\r") else line)
            if parts is not None:
                batch.append((parts[1], parts[0], number))
        yield batch, _position(stream, source)
        if len(rest) > MAX_DOCUMENT_BYTES:
            raise RejectedRecord("unknown_format", f"Expected lines, was {len(rest)} bytes without a line end")
    last = split(rest)
    if last is not None:
        yield [(last[1], last[0], number + 1)], source.size


def _position(stream: IO[bytes], source: SourceFile) -> int:
    # A zip member tells its own unpacked position: then the share is not known better than "not done".
    return min(stream.tell(), source.size)


def _document(stream: IO[bytes]) -> list[Line]:
    body = b"".join(_chunks(stream))
    if len(body) > MAX_DOCUMENT_BYTES:
        raise RejectedRecord("unknown_format", f"Expected at most {MAX_DOCUMENT_BYTES} bytes of JSON, was {len(body)}")
    body = body.strip()
    if not body.startswith(b"["):
        return [(body, None, 1)]
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise RejectedRecord("truncated", f"Expected a whole JSON array, was {error}") from error
    return [(bytes(item), None, at) for at, item in enumerate(items, 1)]
