"""Receive request bodies, in memory while they are small and in a temporary file when large.

They are hashed while they arrive.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from standins.lakefs.blocks import CHUNK_BYTES, BlockStore, read_chunks

# Hashing this many bytes (md5 and sha256) takes 0.2 ms. A worker thread would cost 0.1 ms and two
# thread switches.
SMALL_BYTES = 1 << 16


class RunningDigest(Protocol):
    """A running digest, as in hashlib."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of what was added."""
        ...


@dataclass
class RequestBody:
    """A received body that is not stored yet.

    Up to `CHUNK_BYTES` stay in memory, so that a small upload needs a worker thread only once.
    """

    blocks: BlockStore
    checks: list[RunningDigest] = field(default_factory=list)
    size: int = 0
    _md5: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))
    _chunks: list[bytes] = field(default_factory=list)
    _held: int = 0
    _data: bytes | None = None
    _file: BinaryIO | None = None
    _path: Path | None = None

    async def receive(self, source: AsyncIterator[bytes], pool: Executor) -> RequestBody:
        """Read all of `source`; writing to disk and hashing run in `pool`."""
        loop = asyncio.get_running_loop()
        async for chunk in source:
            self._chunks.append(chunk)
            self._held += len(chunk)
            if self._held >= CHUNK_BYTES:
                await loop.run_in_executor(pool, self._spill)
        return self

    def _digest(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks, self._held = [], 0
        self.size += len(data)
        self._md5.update(data)
        for check in self.checks:
            check.update(data)
        return data

    def _spill(self) -> None:
        data = self._digest()
        if self._file is None:
            handle, name = tempfile.mkstemp(dir=self.blocks.temporary)
            self._file, self._path = os.fdopen(handle, "w+b"), Path(name)
        self._file.write(data)

    def copy(self, source: BinaryIO, length: int) -> None:
        """Append `length` bytes of a stored block; blocking."""
        for chunk in read_chunks(source, length):
            self._chunks.append(chunk)
            self._held += len(chunk)
            if self._held >= CHUNK_BYTES:
                self._spill()

    @property
    def is_small(self) -> bool:
        """Return whether `finish` is quicker than handing it to a worker thread."""
        return self._file is None and self._held <= SMALL_BYTES

    def finish(self) -> None:
        """Complete the digests before `md5` or `checks` are read.

        Use a worker thread unless `is_small`.
        """
        if self._data is not None:
            return
        if self._file is None:
            self._data = self._digest()
        else:
            self._spill()

    @property
    def md5(self) -> bytes:
        """Return the md5 digest of the whole body."""
        digest: bytes = self._md5.digest()
        return digest

    def keep(self, namespace: str) -> str:
        """Move the body into the block store and return its address; blocking."""
        self.finish()
        if self._data is not None:
            return self.blocks.keep(self._data, namespace)
        assert self._file is not None, "a body that is not in memory is in a file"  # noqa: S101
        assert self._path is not None, "the file has a name"  # noqa: S101
        self._file.close()
        self._file = None
        address = self.blocks.keep(self._path, namespace)
        self._path = None
        return address

    def content(self) -> bytes:
        """Return the whole body of a document; call it after `finish`."""
        if self._data is not None:
            return self._data
        assert self._file is not None, "a body that is not in memory is in a file"  # noqa: S101
        self._file.seek(0)
        return self._file.read()

    def discard(self) -> None:
        """Delete the temporary file, if there is one."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
