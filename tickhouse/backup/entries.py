"""The folders, files and links of a home that belong to a backup."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from tickhouse.backup.rules import BackupRules, part_of

EntryKind = Literal["folder", "file", "link"]


@dataclass(frozen=True)
class HomeEntry:
    """One folder, file or symbolic link of a home.

    Args:
        path: Its path in the home.
        kind: What it is.
        mode: Its permission bits.
        size: Bytes of a file.
        target: Where a link points to.
        version: Differs after every change of a file: size, times of last write and of last
            change, inode.
    """

    path: str
    kind: EntryKind
    mode: int
    size: int = 0
    target: str = ""
    version: tuple[int, ...] = ()

    @property
    def mtime_ns(self) -> int:
        """Return when a file was last written to, in nanoseconds since 1970."""
        return self.version[1]

    @property
    def part(self) -> str:
        """Return the part of the backup that it belongs to."""
        return part_of(PurePosixPath(self.path))


def entries(home: Path, rules: BackupRules, *, left_out: frozenset[str] = frozenset()) -> Iterator[HomeEntry]:
    """Yield what is to be saved of a home, each folder before its content, in the order of names.

    Sockets and pipes are not data and are left out.

    Args:
        home: The home.
        rules: What is saved.
        left_out: Further paths that are not saved.
    """
    yield from _below(home, PurePosixPath(), rules, left_out)


def _below(home: Path, folder: PurePosixPath, rules: BackupRules, left_out: frozenset[str]) -> Iterator[HomeEntry]:
    for name in sorted(os.listdir(home / folder)):
        path = folder / name
        if str(path) in left_out or not rules.rule(path).is_saved:
            continue
        found = entry(home, str(path))
        if found is not None:
            yield found
            if found.kind == "folder":
                yield from _below(home, path, rules, left_out)


def entry(home: Path, path: str) -> HomeEntry | None:
    """Return what is at a path of the home; None for what is neither folder, file nor link."""
    status = (home / path).lstat()
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return HomeEntry(path, "folder", mode)
    if stat.S_ISLNK(status.st_mode):
        return HomeEntry(path, "link", mode, target=os.readlink(home / path))
    if not stat.S_ISREG(status.st_mode):
        return None
    version = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return HomeEntry(path, "file", mode, status.st_size, version=version)
