"""Data blocks: where the bytes of objects live, outside git and SQLite."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

CHUNK_BYTES = 1 << 20
# File systems allow 255 bytes.
MAX_FOLDER_NAME = 200


class BlockStore(Protocol):
    """Stores immutable blocks under addresses it makes up."""

    kind: str
    place: str
    temporary: Path

    def keep(self, content: Path | bytes, namespace: str) -> str:
        """Take a whole body into the store, from memory or as a temporary file to move; return its physical address."""
        ...

    def open(self, address: str, start: int) -> BinaryIO:
        """Open a block at an offset in bytes."""
        ...

    def drop(self, address: str) -> None:
        """Delete a block that no entry names any more (multipart parts); missing is fine."""
        ...


def new_name() -> str:
    """Return a fresh block name, spread over 256 folders."""
    name = uuid.uuid4().hex
    return f"data/{name[:2]}/{name}"


def read_chunks(source: BinaryIO, length: int) -> Iterator[bytes]:
    """Yield exactly `length` bytes in chunks.

    Raises:
        OSError: The block is shorter than its entry says.
    """
    left = length
    while left:
        data = source.read(min(left, CHUNK_BYTES))
        if not data:
            raise OSError(f"Expected {left} more bytes in the block, was the end")
        left -= len(data)
        yield data


class LocalBlocks:
    """Blocks as files under `<root>/blocks`; a rename makes them appear whole.

    The address is `<storage namespace>/data/xx/<uuid>`; on disk the namespace is one folder, its name made safe.
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
        """Sync a body, move it into the store and return its address."""
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
        """Delete a block; missing is fine."""
        self._path(address).unlink(missing_ok=True)


def clear_folder(folder: Path) -> None:
    """Make a folder and empty it: bodies that a crash cut off are of no use."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.iterdir():
        stale.unlink()


def sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that a name made in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Flush what was written to a file, by whatever handle, to the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
