"""Object keys as git trees.

A key is split at "/" into folders and a last name. An object store allows keys that a git tree
cannot hold: a folder and a file of the same name, an empty name, "." and ".git". So every tree
entry has a prefix: `d` for a folder, `f` for an object. `a//b` is folder "a", folder "", object
"b"; `a/` is folder "a", object "". Entries are read in the order of the whole keys, in which a
folder counts as its name plus "/".
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pygit2

from standins.lakefs import api_errors
from standins.lakefs.git_store import TREE, GitStore
from standins.lakefs.tree_objects import NO_OID, RawTree, apply_changes

# About 200 bytes per entry in memory: 60 MB at most.
CACHED_ENTRIES = 300_000


class ParsedTree(NamedTuple):
    """One parsed tree in key order: names (folders end with "/") and object ids."""

    names: list[str]
    oids: list[bytes]

    def find(self, name: str) -> bytes | None:
        """Return the id of an entry by its name."""
        at = bisect_left(self.names, name)
        return self.oids[at] if at < len(self.names) and self.names[at] == name else None


class PathChange(NamedTuple):
    """One path that differs between two trees: its pointer blobs, None where it is missing."""

    path: str
    old: bytes | None
    new: bytes | None


def decode_path(raw: bytes) -> str:
    """Return the key of a git path such as `dbronze/dtrades/fpart.parquet`."""
    return "/".join(part[1:].decode() for part in raw.split(b"/"))


class Trees:
    """Reads, walks, edits and compares the trees of one git store."""

    def __init__(self, git: GitStore) -> None:
        self._git = git
        self._cache: OrderedDict[bytes, ParsedTree] = OrderedDict()
        self._cached_entries = 0
        self._lock = threading.Lock()

    def empty(self) -> bytes:
        """Return the id of the empty tree, staged in this thread's batch."""
        return self._git.write(TREE, b"")

    def folder(self, oid: bytes) -> ParsedTree:
        """Return a parsed tree, from the cache if possible."""
        with self._lock:
            cached = self._cache.get(oid)
            if cached is not None:
                self._cache.move_to_end(oid)
                return cached
        raw = self._entries(oid)
        rows = sorted((name[1:].decode() + ("/" if name[:1] == b"d" else ""), child) for name, child in raw.items())
        folder = ParsedTree([name for name, _ in rows], [child for _, child in rows])
        self._cache_tree(oid, folder)
        return folder

    def require(self, oid: bytes) -> None:
        """Refuse a tree that garbage collection removed, even when it is still cached.

        Raises:
            Refusal: 410 when it was removed.
        """
        self._entries(oid)

    def _entries(self, oid: bytes) -> RawTree:
        try:
            return self._git.tree_entries(oid)
        except KeyError as error:
            raise api_errors.expired() from error

    def _cache_tree(self, oid: bytes, folder: ParsedTree) -> None:
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
        """Yield (path, pointer id) in key order, for paths under `prefix` and greater than `after`.

        Folders outside the prefix or entirely before `after` are not read.
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
        """Return the tree after edits (pointer id by path, None removes).

        New trees join the thread's batch.
        """
        return self._apply(root, dict(edits)) or self.empty()

    def _apply(self, oid: bytes | None, edits: dict[str, bytes | None]) -> bytes | None:
        entries = self._entries(oid) if oid else {}
        changes: RawTree = {}
        below: dict[str, dict[str, bytes | None]] = {}
        for path, pointer in edits.items():
            head, slash, rest = path.partition("/")
            if slash:
                below.setdefault(head, {})[rest] = pointer
            else:
                changes[b"f" + head.encode()] = pointer or NO_OID
        for head, inner in below.items():
            name = b"d" + head.encode()
            changes[name] = self._apply(entries.get(name), inner) or NO_OID
        apply_changes(entries, changes)
        return self._git.write_tree(entries, oid, changes) if entries else None

    def diff(self, old: bytes, new: bytes) -> list[PathChange]:
        """Return the paths that differ, in key order.

        Equal folders are skipped and no pointer is read.
        """
        if old == new:
            return []
        try:
            deltas = list(self._git.tree(old).diff_to_tree(self._git.tree(new)).deltas)
        except (KeyError, pygit2.GitError) as error:
            raise api_errors.expired() from error
        changes = []
        for delta in deltas:
            before = delta.old_file.id.raw if delta.status != pygit2.enums.DeltaStatus.ADDED else None
            after = delta.new_file.id.raw if delta.status != pygit2.enums.DeltaStatus.DELETED else None
            changes.append(PathChange(decode_path(delta.new_file.raw_path), before, after))
        return sorted(changes)


def _start(names: list[str], base: str, prefix: str, after: str) -> int:
    """Return the first index that may matter.

    It is one before the bisection, because a folder covers the keys that follow its name.
    """
    at = 0
    for bound in (prefix, after):
        if bound.startswith(base):
            at = max(at, bisect_left(names, bound[len(base) :]) - 1)
    return at
