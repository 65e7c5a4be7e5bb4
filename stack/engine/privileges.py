"""Run a server that refuses root (PostgreSQL, Elasticsearch) when we are root."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from tickhouse.errors import PrerequisiteMissing

ROOT = 0

# The namespace maps our root to 1000 and back: inside nobody is root, outside every file stays root's.
UNSHARE = ("/usr/bin/unshare", "--user", "--map-user=1000", "--map-group=1000")
SETPRIV = ("/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def unprivileged_prefix(binary: Path, data: Path) -> tuple[str, ...]:
    """Make `data` and return the command prefix under which `binary` may run and write there, not as root.

    Raises:
        PrerequisiteMissing: There is no way; the message names the remedy.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    prefix = choose_prefix(binary, data)
    if prefix == SETPRIV:
        _give_to_nobody(data)
    return prefix


def choose_prefix(binary: Path, data: Path) -> tuple[str, ...]:
    """Find out, changing nothing, which prefix works; empty when we are not root.

    A user namespace comes first, because it changes no owner; a data folder that an earlier start gave to
    `nobody` stays with setpriv.

    Raises:
        PrerequisiteMissing: There is no way; the message names the remedy.
    """
    if os.geteuid() != ROOT:
        return ()
    folder = existing(data)
    if folder.stat().st_uid == ROOT and _works(UNSHARE, binary, folder):
        return UNSHARE
    if _works(SETPRIV, binary, existing(data.parent), mode="-x"):
        return SETPRIV
    raise PrerequisiteMissing(
        f"{binary.name} refuses to run as root, user namespaces are switched off here, "
        f"and the user nobody cannot enter {binary.parent} or {data.parent}.",
        safe="Nothing was started.",
        next_command="run as an ordinary user, or clone to a folder that everybody may enter (chmod a+x)",
    )


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return folder if folder.exists() else existing(folder.parent)


def _works(prefix: tuple[str, ...], binary: Path, folder: Path, mode: str = "-w") -> bool:
    test = f'test "$(id -u)" != 0 && test -x "$1" && test {mode} "$2"'
    command = [*prefix, "/bin/sh", "-c", test, "sh", str(binary), str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _give_to_nobody(data: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    for path in (data, *data.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
