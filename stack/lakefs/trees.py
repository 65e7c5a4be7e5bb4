"""Object keys as git trees.

A key is cut at "/" into folders and a last name. A git tree cannot hold a folder and a file of one name, an empty
name, "." or ".git", while an object store holds them all, so every tree entry is prefixed: `d` for a folder, `f` for
an object. `a//b` is folder "a", folder "", object "b"; `a/` is folder "a", object "".
Readers see a folder's entries in the order of the whole keys (a folder counts as its name plus "/").
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pygit2

from stack.lakefs.gitstore import TREE, GitStore

FOLDER_MODE = b"40000"
FILE_MODE = b"100644"
OID_BYTES = 20
# About 200 bytes an entry in memory: 60 MB at most.
CACHED_ENTRIES = 300_000

RawTree = dict[bytes, bytes]


class Folder(NamedTuple):
    """One parsed tree: sort keys (folders end with "/") and object ids, in key order."""

    names: list[str]
    oids: list[bytes]

    def find(self, name: str) -> bytes | None:
        """Return the id of an entry by its sort key."""
        at = bisect_left(self.names, name)
        return self.oids[at] if at < len(self.names) and self.names[at] == name else None


class Change(NamedTuple):
    """One path that differs between two trees; the ids are pointer blobs, None where the path is absent."""

    path: str
    old: bytes | None
    new: bytes | None


def parse(data: bytes) -> RawTree:
    """Parse a raw git tree into id by prefixed name."""
    entries: RawTree = {}
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        at = end + 1 + OID_BYTES
        entries[data[space + 1 : end]] = data[end + 1 : at]
    return entries


def serialize(entries: RawTree) -> bytes:
    """Return the raw git tree of prefixed names (git sorts folders as if they ended with "/")."""
    rows = []
    for name in sorted(entries, key=lambda name: name + b"/" if name[:1] == b"d" else name):
        mode = FOLDER_MODE if name[:1] == b"d" else FILE_MODE
        rows.append(b"%b %b\0%b" % (mode, name, entries[name]))
    return b"".join(rows)


def decode_path(raw: bytes) -> str:
    """Return the key of a git path such as `dbronze/dtrades/fpart.parquet`."""
    return "/".join(part[1:].decode() for part in raw.split(b"/"))


class Trees:
    """Reads, walks, edits and compares trees of one git store."""

    def __init__(self, git: GitStore) -> None:
        self._git = git
        self._cache: OrderedDict[bytes, Folder] = OrderedDict()
        self._cached_entries = 0
        self._lock = threading.Lock()

    def empty(self) -> bytes:
        """Return the id of the empty tree, staged in this thread's batch."""
        return self._git.write(TREE, b"")

    def folder(self, oid: bytes) -> Folder:
        """Return a parsed tree, from the cache when it was read before."""
        with self._lock:
            found = self._cache.get(oid)
            if found is not None:
                self._cache.move_to_end(oid)
                return found
        raw = parse(self._git.read(oid))
        rows = sorted((name[1:].decode() + ("/" if name[:1] == b"d" else ""), child) for name, child in raw.items())
        folder = Folder([name for name, _ in rows], [child for _, child in rows])
        self._remember(oid, folder)
        return folder

    def _remember(self, oid: bytes, folder: Folder) -> None:
        with self._lock:
            if oid in self._cache:
                return
            self._cache[oid] = folder
            self._cached_entries += len(folder.names) + 1
            while self._cached_entries > CACHED_ENTRIES and len(self._cache) > 1:
                self._cached_entries -= len(self._cache.popitem(last=False)[1].names) + 1

    def get(self, root: bytes, path: str) -> bytes | None:
        """Return the pointer blob id of a path, or None."""
        *folders, name = path.split("/")
        oid: bytes | None = root
        for part in folders:
            oid = self.folder(oid).find(part + "/") if oid else None
        return self.folder(oid).find(name) if oid else None

    def walk(self, root: bytes, prefix: str = "", after: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield (path, pointer id) in key order: paths that start with `prefix` and are greater than `after`.

        Folders outside the prefix or wholly before `after` are not read.
        """
        yield from self._walk(root, "", prefix, after)

    def _walk(self, oid: bytes, base: str, prefix: str, after: str) -> Iterator[tuple[str, bytes]]:
        folder = self.folder(oid)
        for at in range(_start(folder.names, base, prefix, after), len(folder.names)):
            full = base + folder.names[at]
            is_folder = folder.names[at].endswith("/")
            if not full.startswith(prefix) and not (is_folder and prefix.startswith(full)):
                if full > prefix:
                    return
                continue
            if is_folder:
                if full > after or after.startswith(full):
                    yield from self._walk(folder.oids[at], full, prefix, after)
            elif full > after:
                yield full, folder.oids[at]

    def apply(self, root: bytes, edits: Mapping[str, bytes | None]) -> bytes:
        """Return the tree after edits (pointer id by path, None removes); new trees wait in the thread's batch."""
        return self._apply(root, dict(edits)) or self.empty()

    def _apply(self, oid: bytes | None, edits: dict[str, bytes | None]) -> bytes | None:
        entries = parse(self._git.read(oid)) if oid else {}
        below: dict[str, dict[str, bytes | None]] = {}
        for path, pointer in edits.items():
            head, slash, rest = path.partition("/")
            if slash:
                below.setdefault(head, {})[rest] = pointer
            else:
                _put(entries, b"f" + head.encode(), pointer)
        for head, inner in below.items():
            name = b"d" + head.encode()
            _put(entries, name, self._apply(entries.get(name), inner))
        return self._git.write(TREE, serialize(entries)) if entries else None

    def diff(self, old: bytes, new: bytes) -> list[Change]:
        """Return the paths that differ, in key order; libgit2 skips equal folders and reads no pointer."""
        if old == new:
            return []
        deltas = self._git.tree(old).diff_to_tree(self._git.tree(new)).deltas
        changes = []
        for delta in deltas:
            before = delta.old_file.id.raw if delta.status != pygit2.enums.DeltaStatus.ADDED else None
            after = delta.new_file.id.raw if delta.status != pygit2.enums.DeltaStatus.DELETED else None
            changes.append(Change(decode_path(delta.new_file.raw_path), before, after))
        return sorted(changes)


def _put(entries: RawTree, name: bytes, oid: bytes | None) -> None:
    if oid is None:
        entries.pop(name, None)
    else:
        entries[name] = oid


def _start(names: list[str], base: str, prefix: str, after: str) -> int:
    """Return the first index of a folder that may matter: one before the bisection, as a folder covers what follows."""
    at = 0
    for bound in (prefix, after):
        if bound.startswith(base):
            at = max(at, bisect_left(names, bound[len(base) :]) - 1)
    return at
