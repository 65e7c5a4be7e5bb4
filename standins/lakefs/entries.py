"""Entries: the metadata of object versions, as small JSON blobs that name their data blocks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

MAX_KEY_BYTES = 1024


@dataclass(frozen=True)
class Entry:
    """One object version.

    Args:
        address: Physical address of the data block.
        size: Bytes.
        checksum: md5 of the body in hex, or `md5-of-md5s-N` after a multipart upload.
        mtime: Seconds since the epoch.
        content_type: Media type that the client gave.
        metadata: User metadata, lower-case keys.
    """

    address: str
    size: int
    checksum: str
    mtime: int
    content_type: str = "application/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the canonical JSON form; it is the git blob."""
        row = [self.address, self.size, self.checksum, self.mtime, self.content_type, self.metadata]
        return json.dumps(row, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def load(cls, data: bytes) -> Entry:
        """Parse the form that `dump` returns."""
        return cls(*json.loads(data))

    @property
    def identity(self) -> tuple[object, ...]:
        """Return what decides whether two versions are the same.

        As in lakeFS, address and time do not count.
        """
        return self.size, self.checksum, self.content_type, tuple(sorted(self.metadata.items()))


def is_valid_key(key: str) -> bool:
    """Return whether a path can be stored: 1 to 1,024 bytes, no NUL, as git trees require."""
    return bool(key) and "\0" not in key and len(key.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES
