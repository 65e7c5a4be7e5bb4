"""A home of its own for a test: data, ports and secrets that collide with nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from stack.engine.portmap import listeners
from tickhouse.settings import ports

PREFIX = "tickhouse-test-"
# Below Linux's range of ports for outgoing connections (32768 up), above the ports of a stack started by hand. Each
# worker of pytest-xdist has a quarter: they look for a free block at the same moment.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
PORT_BASES = range(28_000 + 1_000 * _WORKER, 29_000 + 1_000 * _WORKER, 100)


@contextmanager
def own_home(folder: str = "") -> Iterator[Path]:
    """Point this process and its children to a new home and a free block of ports; take all down at the end.

    In the temporary folder itself and not in pytest's: that one nobody but its owner may enter, and PostgreSQL may
    have to run as `nobody`.

    Args:
        folder: Folder below the temporary one to use as home.
    """
    _sweep()
    temporary = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    temporary.chmod(0o711)
    _owner(temporary).write_text(f"{os.getpid()} {folder}")
    home = temporary / folder
    with _environment(TICKHOUSE_HOME=str(home), TICKHOUSE_PORT_BASE=str(_free_base())):
        try:
            yield home
        finally:
            _remove(temporary, home)


def _remove(temporary: Path, home: Path) -> None:
    from stack.engine import down

    down(purge=home.exists() and any(home.iterdir()))
    shutil.rmtree(temporary, ignore_errors=True)
    _owner(temporary).unlink(missing_ok=True)


def _sweep() -> None:
    """Take down what a session that was killed left running: its fixtures never ended."""
    for note in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.owner"):
        pid, _, folder = note.read_text().partition(" ")
        temporary = note.with_suffix("")
        if pid and not psutil.pid_exists(int(pid)) and _claim(note):
            with _environment(TICKHOUSE_HOME=str(temporary / folder)):
                _remove(temporary, temporary / folder)


def _claim(note: Path) -> bool:
    """Return whether this process is the one that sweeps: workers look at the same moment."""
    try:
        note.unlink()
    except FileNotFoundError:
        return False
    return True


def _owner(temporary: Path) -> Path:
    return temporary.with_name(temporary.name + ".owner")


def _free_base() -> int:
    taken = set(listeners())
    return next(base for base in PORT_BASES if taken.isdisjoint(range(base, base + 100)))


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    ports.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        ports.cache_clear()
