"""Parse and serialize git trees, and apply differences to them."""

from __future__ import annotations

from collections.abc import Mapping

FOLDER_MODE = b"40000"
FILE_MODE = b"100644"
OID_BYTES = 20
# Stands for "no entry" in a difference; no object has this id.
NO_OID = bytes(OID_BYTES)

RawTree = dict[bytes, bytes]


def parse(data: bytes) -> RawTree:
    """Parse a raw git tree and return id by prefixed name."""
    entries: RawTree = {}
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        at = end + 1 + OID_BYTES
        entries[data[space + 1 : end]] = data[end + 1 : at]
    return entries


def serialize(entries: Mapping[bytes, bytes]) -> bytes:
    """Return the raw git tree of prefixed names.

    Git sorts a folder as if its name ended with "/".
    """
    rows = []
    for name in sorted(entries, key=lambda name: name + b"/" if name[:1] == b"d" else name):
        mode = FOLDER_MODE if name[:1] == b"d" else FILE_MODE
        rows.append(b"%b %b\0%b" % (mode, name, entries[name]))
    return b"".join(rows)


def apply_changes(entries: RawTree, changes: Mapping[bytes, bytes]) -> None:
    """Change entries in place; `NO_OID` removes one."""
    for name, oid in changes.items():
        if oid == NO_OID:
            entries.pop(name, None)
        else:
            entries[name] = oid
