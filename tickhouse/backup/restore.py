"""Make a home from a backup, and check a backup.

`unfinished-restore.json` is in the home from the first moment until every file is there with its
hash; while it is there, nothing starts in that home. A restore that was interrupted goes on with
the same backup.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from common.errors import BackupUnusable, ConfigurationError
from common.settings import home, secrets_file
from stack.engine.home_folder import HOME_MARK, RESTORE_MARK, locked_home
from stack.postgres.setup import MIGRATIONS
from tickhouse.backup.copying import copy_file, hash_of
from tickhouse.backup.manifest import CONTENT, BackupManifest, SavedEntry, damaged_file, product, read_files
from tickhouse.backup.rules import part_of
from tickhouse.backup.save import SPARE_BYTES

# What the lock of a home makes before anything is in it.
_EMPTY_HOME = ("conf", "data", "logs", "run", HOME_MARK)

# Receives the name of a part when it begins.
PartName = Callable[[str], None]


def check(folder: Path, manifest: BackupManifest, report: PartName) -> None:
    """Read every file of a backup and compare it with its hash.

    Raises:
        BackupUnusable: A file is missing or differs.
    """
    for name, saved in _by_part(read_files(folder, manifest)).items():
        report(name)
        for one in saved:
            _require_sound(folder, one)


def restore(folder: Path, manifest: BackupManifest, report: PartName, secrets: Path | None = None) -> None:
    """Fill this home from a backup.

    Args:
        folder: The backup.
        manifest: Its manifest.
        report: Progress.
        secrets: The file `secrets.env` of a backup that was made without it.

    Raises:
        BackupUnusable: A file of the backup is missing or differs; the home stays unfinished.
        ConfigurationError: The home is not empty, its disk is too small, or the secrets are those
            of another home.
    """
    refuse_newer(folder, manifest)
    _refuse_wrong_secrets(manifest, secrets)
    saved = read_files(folder, manifest)
    _refuse_content(manifest)
    with locked_home():
        _refuse_content(manifest)
        _require_space(manifest)
        mark = home() / RESTORE_MARK
        mark.write_text(json.dumps({"id": manifest.id, "from": str(folder)}))
        for name, members in _by_part(saved).items():
            report(name)
            for one in members:
                _restore_one(folder, one)
        if secrets is not None:
            copy_file(secrets, secrets_file())
        _set_times_and_modes(saved)
        os.sync()
        mark.unlink()


def refuse_newer(folder: Path, manifest: BackupManifest) -> None:
    """Refuse a backup of a newer Tickhouse: its database may have tables that this one lacks.

    Raises:
        BackupUnusable: It is newer.
    """
    own, other = product(), manifest.product
    is_newer = _number(other.version) > _number(own.version) or not (MIGRATIONS / other.migration).exists()
    if is_newer:
        raise BackupUnusable(
            f"{folder} was made by Tickhouse {other.version} with the migration {other.migration}; "
            f"this is {own.version} with {own.migration}.",
            safe="Nothing was changed.",
            next_command="update Tickhouse (docs/how-to/upgrade.md), then restore again",
        )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _refuse_wrong_secrets(manifest: BackupManifest, secrets: Path | None) -> None:
    if manifest.has_secrets and secrets is None:
        return
    if manifest.has_secrets:
        raise ConfigurationError("The backup has its secrets.", next_command="leave out --secrets")
    if secrets is None:
        raise ConfigurationError(
            "The backup was made without secrets.env, and its data folders need those passwords.",
            safe="Nothing was changed.",
            next_command="add --secrets FILE with the secrets.env that you kept",
        )
    if not secrets.is_file() or hash_of(secrets) != manifest.secrets_sha256:
        raise ConfigurationError(
            f"{secrets} is not the secrets.env of this backup.",
            safe="Nothing was changed.",
            next_command="name the file that you kept when the backup was made",
        )


def _refuse_content(manifest: BackupManifest) -> None:
    """Refuse a home that has anything in it, except an unfinished restore of the same backup.

    Raises:
        ConfigurationError: The home is not empty.
    """
    if not home().exists():
        return
    mark = home() / RESTORE_MARK
    if mark.exists():
        begun = json.loads(mark.read_text() or "{}")
        if begun.get("id") == manifest.id:
            return
        raise ConfigurationError(
            f"{home()} holds an unfinished restore of another backup, {begun.get('from', 'unknown')}.",
            safe="Nothing was changed.",
            next_command="finish that one, or remove it: tickhouse down --purge",
        )
    found = sorted(path.name for path in home().iterdir() if path.name not in _EMPTY_HOME)
    found += sorted(f"{name}/{path.name}" for name in ("data", "logs") for path in (home() / name).glob("*"))
    if found:
        raise ConfigurationError(
            f"The home {home()} is not empty: it has {', '.join(found[:3])}.",
            safe="Nothing was changed.",
            next_command="TICKHOUSE_HOME=<new folder> tickhouse restore FOLDER, or remove the old home first: "
            "tickhouse down --purge",
        )


def _require_space(manifest: BackupManifest) -> None:
    free = shutil.disk_usage(home()).free
    if manifest.bytes + SPARE_BYTES > free and not (home() / RESTORE_MARK).exists():
        raise ConfigurationError(
            f"The backup holds {manifest.bytes / 1e9:.2f} GB, but {home()} has {free / 1e9:.2f} GB free.",
            safe="Nothing was changed.",
            next_command="free space, or set TICKHOUSE_HOME to a folder on another disk",
        )


def _by_part(saved: list[SavedEntry]) -> dict[str, list[SavedEntry]]:
    parts: dict[str, list[SavedEntry]] = defaultdict(list)
    for one in saved:
        parts[part_of(one.pure_path)].append(one)
    return parts


def _require_sound(folder: Path, one: SavedEntry) -> None:
    path = folder / CONTENT / one.path
    if one.kind != "file":
        return
    if not path.is_file():
        raise damaged_file(folder, one.path, "is missing")
    if hash_of(path) != one.sha256:
        raise damaged_file(folder, one.path, "is not as it was saved")


def _restore_one(folder: Path, one: SavedEntry) -> None:
    target = home() / one.path
    if one.kind == "folder":
        target.mkdir(mode=0o700, exist_ok=True)
    elif one.kind == "link":
        target.unlink(missing_ok=True)
        target.symlink_to(one.target)
    elif not (target.is_file() and target.stat().st_size == one.size and hash_of(target) == one.sha256):
        target.unlink(missing_ok=True)
        source = folder / CONTENT / one.path
        if not source.is_file():
            raise damaged_file(folder, one.path, "is missing")
        if copy_file(source, target) != one.sha256:
            target.unlink()
            raise damaged_file(folder, one.path, "is not as it was saved")


def _set_times_and_modes(saved: list[SavedEntry]) -> None:
    """Give files and folders what they had; a folder after its content."""
    for one in reversed(saved):
        path = home() / one.path
        if one.kind == "file":
            os.utime(path, ns=(one.mtime_ns, one.mtime_ns))
        if one.kind != "link":
            path.chmod(one.mode)
