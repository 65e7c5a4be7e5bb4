"""Canaries: every generated password of a home is looked for in everything that the home wrote."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from stack.engine.secrets import read_secrets

# What people and other programs read: logs, task logs, reports of audits, notifications, refused
# messages, dead letters as they are on the broker's disk, and the state of the streaming job.
WRITTEN = (
    *("logs/*", "airflow/logs/**/*", "data_docs/**/*", "notifications/*", "refused_logs/*", "stream/**/*.json"),
    *("data/*/*.log", "data/*/log/*.log", "data/kafka/log/dlq.*/*.log", "data/log_shipper/work/ship.*"),
)
# Files that a program needs a password in.
CONFIGURED = ("conf/**/*", "run/*.json", "data/elasticsearch/config/*", "secrets.env")
# Names of keys and users are no secrets.
PUBLIC = ("_ACCESS_KEY_ID", "_USER")
SHORTEST = 12


def leaks(home: Path) -> list[str]:
    """Return a line per file that has a secret and must not, and per open file that may."""
    file = home / "secrets.env"
    known = read_secrets(file) if file.exists() else {}
    values = {value: name for name, value in known.items() if len(value) >= SHORTEST and not name.endswith(PUBLIC)}
    if not values:
        return []
    pattern = re.compile("|".join(map(re.escape, values)).encode())
    written = [f"{path.relative_to(home)} has {values[hit]}" for path, hit in _hits(home, WRITTEN, pattern)]
    readable = [
        f"{path.relative_to(home)} has {values[hit]}, and others may read it"
        for path, hit in _hits(home, CONFIGURED, pattern)
        if stat.S_IMODE(path.stat().st_mode) & 0o077 and not _is_in_private_folder(path, home)
    ]
    return sorted({*written, *readable})


def _hits(home: Path, patterns: tuple[str, ...], pattern: re.Pattern[bytes]) -> Iterator[tuple[Path, str]]:
    for path in (path for one in patterns for path in home.glob(one) if path.is_file()):
        found = pattern.search(path.read_bytes())
        if found is not None:
            yield path, found[0].decode()


def _is_in_private_folder(path: Path, home: Path) -> bool:
    folders = [folder for folder in path.parents if folder.is_relative_to(home)]
    return any(not stat.S_IMODE(folder.stat().st_mode) & 0o077 for folder in folders)
