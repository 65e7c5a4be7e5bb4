"""A home of its own for a test: its data, ports and secrets collide with no other home."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from common.settings import ports
from stack.engine.port_owners import listeners

PREFIX = "tickhouse-test-"
# Below Linux's range of ports for outgoing connections (32768 up), above the ports of a stack
# started by hand. Each worker of pytest-xdist has a quarter, so that workers rarely try the same
# block.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
PORT_BASES = range(28_000 + 1_000 * _WORKER, 29_000 + 1_000 * _WORKER, 100)


@contextmanager
def own_home(folder: str = "") -> Iterator[Path]:
    """Point this process and its children to a new home and a free block of ports.

    Everything is taken down and removed at the end. The home is in the temporary folder itself and
    not in pytest's, which nobody but its owner may enter: PostgreSQL may have to run as `nobody`.

    Args:
        folder: Folder below the temporary one to use as home.
    """
    _remove_homes_of_killed_sessions()
    temporary = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    temporary.chmod(0o711)
    _owner(temporary).write_text(f"{os.getpid()} {folder}")
    home = temporary / folder
    with _reserved_ports() as base, _environment(TICKHOUSE_HOME=str(home), TICKHOUSE_PORT_BASE=str(base)):
        try:
            yield home
        finally:
            leaked = _remove(temporary, home)
    if leaked:
        raise AssertionError("; ".join(leaked))


def _remove(temporary: Path, home: Path) -> list[str]:
    """Stop and remove a home; return where it had written a secret."""
    from stack.engine.lifecycle import down
    from tests.leaks import leaks

    down()
    leaked = leaks(home)
    down(purge=home.exists() and any(home.iterdir()))
    shutil.rmtree(temporary, ignore_errors=True)
    _owner(temporary).unlink(missing_ok=True)
    return leaked


def _remove_homes_of_killed_sessions() -> None:
    """Take down and remove the homes of sessions that were killed: their fixtures never ended."""
    for note in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.owner"):
        try:
            pid, _, folder = note.read_text().partition(" ")
        except FileNotFoundError:  # its session ended meanwhile, or another worker removed it
            continue
        temporary = note.with_suffix("")
        if pid and not psutil.pid_exists(int(pid)) and _claim(note):
            with _environment(TICKHOUSE_HOME=str(temporary / folder)):
                _remove(temporary, temporary / folder)


def _claim(note: Path) -> bool:
    """Return whether this process is the one that removes: workers look at the same moment."""
    try:
        note.unlink()
    except FileNotFoundError:
        return False
    return True


def _owner(temporary: Path) -> Path:
    return temporary.with_name(temporary.name + ".owner")


@contextmanager
def _reserved_ports() -> Iterator[int]:
    """Reserve a block of 100 ports on which nobody listens, and return the first.

    A lock on a file reserves the block until the end: the servers of two sessions that start at the
    same moment listen only seconds later. The kernel takes the lock of a session that was killed.
    """
    taken = set(listeners())
    for base in PORT_BASES:
        with Path(tempfile.gettempdir(), f"{PREFIX}ports-{base}.lock").open("w") as file:
            if taken.isdisjoint(range(base, base + 100)) and _is_locked(file.fileno()):
                yield base
                return
    raise RuntimeError(f"No block of ports in {PORT_BASES} is free; end the test sessions that still run.")


def _is_locked(descriptor: int) -> bool:
    """Take the lock of an open file; return whether nobody else holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
