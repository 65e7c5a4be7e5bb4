"""Save a home whose services are stopped.

What makes a backup crash-safe, in this order:

1. Files are copied to `<folder>.partial`. Each complete one gets a line in a journal there.
2. All data reaches the disk, then `manifest.json` is written.
3. `<folder>.partial` is renamed to `<folder>`.

A backup that is killed before 3 has no manifest or not its name, and `restore` refuses it. The
next one to the same folder goes on: it keeps a file that has not changed in the home, and whose
copy has the hash of the journal.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from common.errors import ConfigurationError
from common.market_kind import kind_of
from common.settings import Settings, home, ports, secrets_file
from stack.engine import supervisor
from stack.engine.home_folder import locked_home, refuse_unfinished_restore
from stack.engine.lifecycle import catalog
from stack.engine.orphans import orphans
from stack.engine.service_start import is_external
from standins.lakefs.branch_heads import branch_heads
from tickhouse.backup import rules
from tickhouse.backup.copying import copy_file, hash_of
from tickhouse.backup.entries import HomeEntry, entries, entry
from tickhouse.backup.manifest import (
    CONTENT,
    FILES,
    MANIFEST,
    BackupManifest,
    SavedEntry,
    SavedPart,
    partial,
    product,
    write_files,
)

JOURNAL = "journal.jsonl"
SECRETS = "secrets.env"
# Left free on the disk of the backup.
SPARE_BYTES = 100_000_000

# Receives the name of a part when it begins, and its figures when it is complete.
PartReporter = Callable[[str, SavedPart | None], None]


def refuse_target(folder: Path) -> Path:
    """Return the absolute path of a backup to make.

    Raises:
        ConfigurationError: There is no home to save, something is in the folder already, or the
            folder is inside the home.
    """
    target = folder.expanduser().resolve()
    refuse_unfinished_restore()
    if not secrets_file().exists():
        raise ConfigurationError(f"There is no lakehouse in {home()}.", next_command="tickhouse up")
    if target.is_relative_to(home()):
        raise ConfigurationError(f"{target} is inside the home {home()}.", next_command="name a folder outside")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        what = "a complete backup" if (target / MANIFEST).exists() else "something else"
        raise ConfigurationError(
            f"{target} holds {what} already.", safe="Nothing was changed.", next_command="name another folder"
        )
    return target


def save(settings: Settings, target: Path, report: PartReporter, *, with_secrets: bool = True) -> BackupManifest:
    """Save this home; return the manifest of the complete backup.

    Args:
        settings: Addresses, which decide what is external.
        target: Absolute path of the backup, from `refuse_target`.
        report: Progress.
        with_secrets: Whether `secrets.env` is saved; the data folders need it.

    Raises:
        ConfigurationError: A service runs, or the disk of the backup is too small.
    """
    with locked_home():
        refuse_unfinished_restore()
        _refuse_running(target)
        heads = branch_heads(home() / rules.DATA / "lakefs", settings.lake_repository)
        declared = rules.load()
        left_out = {} if with_secrets else {SECRETS: "--without-secrets was given"}
        found = list(entries(home(), declared, left_out=frozenset(left_out)))
        work = partial(target)
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        copier = PartialBackup(home(), work)
        _require_space(work, copier.missing_bytes(found))
        files_sha256 = write_files(work / FILES, copier.copy(found, declared, report))
        manifest = BackupManifest(
            id=uuid.uuid4().hex,
            made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            home=str(home()),
            market=kind_of(home()) or "",
            port_base=min(ports().values()),
            product=product(),
            lake=heads,
            has_secrets=with_secrets,
            secrets_sha256=hash_of(secrets_file()),
            parts=tuple(copier.parts),
            left_out=declared.left_out() | left_out,
            external=tuple(name for name, service in catalog().items() if is_external(service, settings)),
            files_sha256=files_sha256,
        )
        _complete(work, target, manifest)
    return manifest


def _refuse_running(target: Path) -> None:
    running = supervisor.supervisor_pid() is not None
    left = [] if running else orphans()
    if running or left:
        what = "Services of this home run" if running else f"Processes of this home run: {left[0].pid}"
        raise ConfigurationError(
            f"{what}; a copy of their files would not be whole.",
            safe="Nothing was stopped or copied.",
            next_command=f"tickhouse backup {target} --stop (stops, saves, starts again), or tickhouse down first",
        )


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise ConfigurationError(
            f"The backup needs {needed / 1e9:.2f} GB, but {folder} has {free / 1e9:.2f} GB free.",
            safe="The home is unchanged.",
            next_command="free space there, or name a folder on another disk",
        )


def _complete(work: Path, target: Path, manifest: BackupManifest) -> None:
    (work / JOURNAL).unlink(missing_ok=True)
    os.sync()
    with (work / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest.document(), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    work.rename(target)
    _sync_folder(target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass
class PartialBackup:
    """The folder of a backup that is not complete yet.

    Args:
        home: The home that is saved.
        work: The folder.
        parts: What is complete so far.
    """

    home: Path
    work: Path
    parts: list[SavedPart] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._known = _read_journal(self.work / JOURNAL)

    @property
    def content(self) -> Path:
        """Return the folder of the copied files."""
        return self.work / CONTENT

    def missing_bytes(self, found: Iterable[HomeEntry]) -> int:
        """Return how many bytes are still to be copied, at most."""
        return sum(one.size for one in found if one.kind == "file" and self._known_copy(one) is None)

    def copy(self, found: list[HomeEntry], declared: rules.BackupRules, report: PartReporter) -> list[SavedEntry]:
        """Copy everything, part by part, and remove what an earlier try left and the home lacks.

        Raises:
            ConfigurationError: A file changed while it was copied.
        """
        _remove_others(self.content, {one.path for one in found})
        self.content.mkdir(mode=0o700, exist_ok=True)
        by_part: dict[str, list[HomeEntry]] = defaultdict(list)
        for one in found:
            by_part[one.part].append(one)
        saved: list[SavedEntry] = []
        with (self.work / JOURNAL).open("a", encoding="utf-8", buffering=1) as journal:
            for name, members in by_part.items():
                report(name, None)
                lines = [self._copy_one(one, journal.write) for one in members]
                saved += lines
                part = _part(name, declared.rule(PurePosixPath(members[0].path)), lines)
                if part.files:
                    self.parts.append(part)
                    report(name, part)
        return saved

    def _copy_one(self, one: HomeEntry, journal: Callable[[str], int]) -> SavedEntry:
        target = self.content / one.path
        if one.kind == "folder":
            target.mkdir(mode=0o700, exist_ok=True)
            return SavedEntry(one.path, one.kind, one.mode)
        if one.kind == "link":
            target.unlink(missing_ok=True)
            target.symlink_to(one.target)
            return SavedEntry(one.path, one.kind, one.mode, target=one.target)
        known = self._known_copy(one)
        if known is not None and hash_of(target) == known.sha256:
            return known
        target.unlink(missing_ok=True)
        sha256 = copy_file(self.home / one.path, target)
        saved = SavedEntry(one.path, one.kind, one.mode, one.size, sha256, mtime_ns=one.mtime_ns)
        self._require_unchanged(one, target)
        journal(json.dumps({"version": one.version, "entry": asdict(saved)}) + "\n")
        return saved

    def _require_unchanged(self, one: HomeEntry, target: Path) -> None:
        now = entry(self.home, one.path)
        if now is None or now.version != one.version or target.stat().st_size != one.size:
            raise ConfigurationError(
                f"{self.home / one.path} changed while it was copied: some process still writes to the home.",
                safe="No backup was made.",
                next_command="end that process (fuser shows it), then run the backup again",
            )

    def _known_copy(self, one: HomeEntry) -> SavedEntry | None:
        """Return the line of a file that an earlier try copied and that has not changed since."""
        version, saved = self._known.get(one.path, ((), None))
        if saved is None or (version, saved.mode) != (one.version, one.mode):
            return None
        return saved if (self.content / one.path).is_file() else None


def _part(name: str, rule: rules.BackupRule, lines: list[SavedEntry]) -> SavedPart:
    files = [line for line in lines if line.kind == "file"]
    return SavedPart(name, rule.kind, rule.why, len(files), sum(line.size for line in files))


def _read_journal(path: Path) -> dict[str, tuple[tuple[int, ...], SavedEntry]]:
    """Return version and line of each complete file, by path.

    A line that was cut off by a kill is left out.
    """
    if not path.exists():
        return {}
    known = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            document = json.loads(line)
            known[document["entry"]["path"]] = (tuple(document["version"]), SavedEntry(**document["entry"]))
        except (ValueError, KeyError, TypeError):
            continue
    return known


def _remove_others(content: Path, wanted: set[str]) -> None:
    for folder, folders, files in os.walk(content):
        for name in [*folders, *files]:
            path = Path(folder, name)
            if str(path.relative_to(content)) in wanted:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
                folders.remove(name)
            else:
                path.unlink()
