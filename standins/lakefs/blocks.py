"""Data blocks: the bytes of objects, stored outside git and SQLite."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

CHUNK_BYTES = 1 << 20
# File systems allow names of 255 bytes.
MAX_FOLDER_NAME = 200


class BlockStore(Protocol):
    """Stores immutable blocks under addresses that it chooses."""

    kind: str
    place: str
    temporary: Path

    def keep(self, content: Path | bytes, namespace: str) -> str:
        """Store a body (bytes, or a temporary file to move) and return its physical address."""
        ...

    def open(self, address: str, start: int) -> BinaryIO:
        """Open a block at an offset in bytes."""
        ...

    def drop(self, address: str) -> None:
        """Delete a block that no entry names; a missing block is no error."""
        ...


def new_name() -> str:
    """Return a new block name; names spread over 256 folders."""
    name = uuid.uuid4().hex
    return f"data/{name[:2]}/{name}"


def read_chunks(source: BinaryIO, length: int) -> Iterator[bytes]:
    """Yield exactly `length` bytes in chunks.

    Raises:
        OSError: The block is shorter than the size in its entry.
    """
    remaining = length
    while remaining:
        data = source.read(min(remaining, CHUNK_BYTES))
        if not data:
            raise OSError(f"The block ended, but {remaining} more bytes were expected")
        remaining -= len(data)
        yield data


class LocalBlocks:
    """Blocks as files under `<root>/blocks`; each is complete when a rename makes it visible.

    The address is `<storage namespace>/data/xx/<uuid>`. On disk the namespace is one folder with an
    escaped name.
    """

    kind = "local"
    place = "local"

    def __init__(self, root: Path) -> None:
        self._root = root / "blocks"
        self.temporary = root / "tmp"
        self._root.mkdir(parents=True, exist_ok=True)
        clear_folder(self.temporary)

    def _path(self, address: str) -> Path:
        namespace, _, name = address.rpartition("/data/")
        safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else f"%{ord(c):02x}" for c in namespace)
        if len(safe) > MAX_FOLDER_NAME:
            safe = hashlib.sha256(namespace.encode()).hexdigest()
        return self._root / safe.lstrip(".") / name

    def keep(self, content: Path | bytes, namespace: str) -> str:
        """Flush a body to disk, move it into the store and return its address."""
        address = f"{namespace.rstrip('/')}/{new_name()}"
        target = self._path(address)
        temporary = content if isinstance(content, Path) else self.temporary / target.name
        if isinstance(content, bytes):
            temporary.write_bytes(content)
        sync_file(temporary)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(self._root)
            sync_folder(target.parent.parent)
        temporary.rename(target)
        sync_folder(target.parent)
        return address

    def open(self, address: str, start: int) -> BinaryIO:
        """Open a block at an offset in bytes."""
        source = self._path(address).open("rb", buffering=0)
        source.seek(start)
        return source

    def drop(self, address: str) -> None:
        """Delete a block; a missing block is no error."""
        self._path(address).unlink(missing_ok=True)


def clear_folder(folder: Path) -> None:
    """Make a folder and empty it, because bodies from before a crash are of no use."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.iterdir():
        stale.unlink()


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a new name in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Flush a file to disk, whichever handle wrote to it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
