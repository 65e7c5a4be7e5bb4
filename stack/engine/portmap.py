"""Who listens on which port."""

from __future__ import annotations

import psutil


def listeners() -> dict[int, int | None]:
    """Return process id by listening TCP port; None where the owner cannot be seen."""
    connections = psutil.net_connections(kind="tcp")
    found = {}
    for one in connections:
        if one.status == psutil.CONN_LISTEN and one.laddr:
            found[one.laddr.port] = one.pid
    return found


def holder(port: int) -> str:
    """Return who listens on a port, as a phrase for a message."""
    return describe(listeners().get(port))


def describe(pid: int | None) -> str:
    """Return a process as a phrase for a message."""
    if pid is None:
        return "a process of another user"
    try:
        return f"pid {pid} ({' '.join(psutil.Process(pid).cmdline())[:120]})"
    except psutil.Error:
        return f"pid {pid}"
