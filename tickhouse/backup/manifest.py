"""What a backup says of itself: `manifest.json`, and `files.jsonl` with the hash of each file.

<backup>/manifest.json   written last: a folder without it is no backup
<backup>/files.jsonl     one line per folder, file and link
<backup>/home/           the files, with the paths that they have in the home
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from common.errors import BackupUnusable
from common.settings import REPO
from stack.postgres.setup import MIGRATIONS
from tickhouse.backup.copying import hash_of
from tickhouse.backup.entries import EntryKind

# Raised when an older Tickhouse cannot restore what a newer one saves.
FORMAT = 1
MANIFEST = "manifest.json"
FILES = "files.jsonl"
CONTENT = "home"
# A backup has this name until it is complete.
PARTIAL = ".partial"


@dataclass(frozen=True)
class SavedEntry:
    """One line of `files.jsonl`; a file has size, hash and time of its last write, a link a target.

    Retention counts from the last write of some files, so that the time is kept.
    """

    path: str
    kind: EntryKind
    mode: int
    size: int = 0
    sha256: str = ""
    target: str = ""
    mtime_ns: int = 0

    @property
    def pure_path(self) -> PurePosixPath:
        """Return its path in the home."""
        return PurePosixPath(self.path)

    def line(self) -> str:
        """Return the line."""
        return json.dumps(asdict(self)) + "\n"


@dataclass(frozen=True)
class SavedPart:
    """One service's data, or one folder or file of the home."""

    name: str
    kind: str
    why: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Product:
    """The Tickhouse that made the backup: its version, commit and newest database migration."""

    version: str
    commit: str
    migration: str


@dataclass(frozen=True)
class BackupManifest:
    """The document of one backup.

    Args:
        id: Names the backup.
        made_at: When it was complete, in UTC.
        home: The folder that was saved.
        market: `real`, `simulated`, or empty when no trade has come yet.
        port_base: The first port of the stack; links in reports and commits contain it.
        product: What made it.
        lake: Commit by branch of the lake; empty when the lake is elsewhere.
        has_secrets: Whether `secrets.env` is in it, in clear.
        secrets_sha256: The hash of `secrets.env`, also when it was left out.
        parts: What was saved.
        left_out: What was not saved, with the reason.
        external: Services whose data is elsewhere and not in this backup.
        files_sha256: The hash of `files.jsonl`.
    """

    id: str
    made_at: str
    home: str
    market: str
    port_base: int
    product: Product
    lake: dict[str, str]
    has_secrets: bool
    secrets_sha256: str
    parts: tuple[SavedPart, ...]
    left_out: dict[str, str]
    external: tuple[str, ...]
    files_sha256: str
    format: int = field(default=FORMAT)

    @property
    def bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(part.bytes for part in self.parts)

    @property
    def files(self) -> int:
        """Return the number of files."""
        return sum(part.files for part in self.parts)

    def document(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {**asdict(self), "bytes": self.bytes, "files": self.files}


def product() -> Product:
    """Return what runs here."""
    newest = max(path.name for path in MIGRATIONS.glob("*.sql"))
    return Product(metadata.version("tickhouse"), _git_commit(), newest)


def _git_commit() -> str:
    """Return the commit of the clone; empty without git or outside a clone."""
    command = ["git", "-C", str(REPO), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def write_files(path: Path, saved: Iterable[SavedEntry]) -> str:
    """Write `files.jsonl` and return its hash."""
    path.write_text("".join(entry.line() for entry in saved), encoding="utf-8")
    return hash_of(path)


def read_manifest(folder: Path) -> BackupManifest:
    """Return the manifest of a complete backup.

    Raises:
        BackupUnusable: The folder is no backup, an unfinished one, a damaged one, or one of a
            newer Tickhouse.
    """
    try:
        document = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise _no_backup(folder) from None
    except ValueError as error:
        raise _damaged(folder, f"{MANIFEST} is not JSON: {error}") from error
    if document.get("format", 0) > FORMAT:
        raise BackupUnusable(
            f"{folder} was made by Tickhouse {document['product']['version']}, whose format "
            f"{document['format']} this version does not know.",
            safe="Nothing was changed.",
            next_command="update Tickhouse, then restore again",
        )
    try:
        return _manifest(document)
    except (KeyError, TypeError) as error:
        raise _damaged(folder, f"{MANIFEST} lacks {error}") from error


def _manifest(document: dict[str, Any]) -> BackupManifest:
    names = set(BackupManifest.__dataclass_fields__)
    values = {name: value for name, value in document.items() if name in names}
    values["product"] = Product(**document["product"])
    values["parts"] = tuple(SavedPart(**part) for part in document["parts"])
    values["external"] = tuple(document["external"])
    return BackupManifest(**values)


def read_files(folder: Path, manifest: BackupManifest) -> list[SavedEntry]:
    """Return every line of `files.jsonl`.

    Raises:
        BackupUnusable: It is not the file that the manifest was written for, or a path in it leads
            out of the home.
    """
    path = folder / FILES
    if not path.is_file() or hash_of(path) != manifest.files_sha256:
        raise _damaged(folder, f"{FILES} is not the file that was written with {MANIFEST}")
    saved = [SavedEntry(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    links = {one.pure_path for one in saved if one.kind == "link"}
    for one in saved:
        if one.pure_path.is_absolute() or ".." in one.pure_path.parts or links & {*one.pure_path.parents}:
            raise _damaged(folder, f"{FILES} names {one.path!r}, which is outside a home")
    return saved


def damaged_file(folder: Path, path: str, reason: str) -> BackupUnusable:
    """Return the error for a file that is not as it was saved."""
    return _damaged(folder, f"{CONTENT}/{path} {reason}")


def _no_backup(folder: Path) -> BackupUnusable:
    unfinished = next((one for one in (folder, partial(folder)) if one.name.endswith(PARTIAL) and one.is_dir()), None)
    if unfinished:
        return BackupUnusable(
            f"{unfinished} is a backup that was interrupted; it lacks files.",
            safe="Nothing was changed.",
            next_command=f"tickhouse backup {str(unfinished).removesuffix(PARTIAL)} (it goes on from there)",
        )
    return BackupUnusable(
        f"{folder} is no backup: it has no {MANIFEST}.",
        safe="Nothing was changed.",
        next_command="name the folder that tickhouse backup wrote",
    )


def _damaged(folder: Path, what: str) -> BackupUnusable:
    return BackupUnusable(
        f"The backup {folder} is damaged: {what}.",
        safe="The backup was not changed.",
        next_command="use another backup, or another copy of this one",
    )


def partial(folder: Path) -> Path:
    """Return the name that a backup has until it is complete."""
    return folder.with_name(folder.name + PARTIAL)
