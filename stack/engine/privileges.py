"""Run servers that refuse to run as root (PostgreSQL, Elasticsearch) when we are root."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from common.errors import PrerequisiteMissing

ROOT = 0

# The user namespace maps root to user 1000: inside it the server is not root, outside it every file
# still belongs to root.
UNSHARE = ("/usr/bin/unshare", "--user", "--map-user=1000", "--map-group=1000")
SETPRIV = ("/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def unprivileged_prefix(binary: Path, data: Path) -> tuple[str, ...]:
    """Make `data` and return the prefix with which `binary` runs without root and can write there.

    Raises:
        PrerequisiteMissing: No prefix works; the message names what to change.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    prefix = choose_prefix(binary, data)
    if prefix == SETPRIV:
        _give_to_nobody(data)
    return prefix


def choose_prefix(binary: Path, data: Path) -> tuple[str, ...]:
    """Return the prefix that works, without changing anything; empty when we are not root.

    A user namespace is preferred, because it changes no file owner. A data folder that an earlier
    start gave to `nobody` needs setpriv again.

    Raises:
        PrerequisiteMissing: No prefix works; the message names what to change.
    """
    if os.geteuid() != ROOT:
        return ()
    folder = nearest_existing(data)
    if folder.stat().st_uid == ROOT and _works(UNSHARE, binary, folder):
        return UNSHARE
    if _works(SETPRIV, binary, nearest_existing(data.parent), mode="-x"):
        return SETPRIV
    raise PrerequisiteMissing(
        f"{binary.name} refuses to run as root, user namespaces are disabled on this machine, "
        f"and the user nobody cannot enter {binary.parent} or {data.parent}.",
        safe="Nothing was started.",
        next_command="run as an ordinary user, or clone to a folder that everybody may enter (chmod a+x)",
    )


def nearest_existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


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
