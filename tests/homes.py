"""A home of its own for a test: data, ports and secrets that collide with nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.engine.portmap import listeners
from tickhouse.settings import ports

# Below Linux's range of ports for outgoing connections (32768 up), above the ports of a stack started by hand. Each of
# the two workers of pytest-xdist has a half: both look for a free block at the same moment.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2
PORT_BASES = range(28_000 + 2_000 * _WORKER, 30_000 + 2_000 * _WORKER, 100)


@contextmanager
def own_home(folder: str = "") -> Iterator[Path]:
    """Point this process and its children to a new home and a free block of ports; take all down at the end.

    In the temporary folder itself and not in pytest's: that one nobody but its owner may enter, and PostgreSQL may
    have to run as `nobody`.

    Args:
        folder: Folder below the temporary one to use as home.
    """
    from stack.engine import down

    temporary = Path(tempfile.mkdtemp(prefix="tickhouse-test-")).resolve()
    temporary.chmod(0o711)
    home = temporary / folder
    with _environment(TICKHOUSE_HOME=str(home), TICKHOUSE_PORT_BASE=str(_free_base())):
        try:
            yield home
        finally:
            down(purge=home.exists() and any(home.iterdir()))
            shutil.rmtree(temporary, ignore_errors=True)


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
