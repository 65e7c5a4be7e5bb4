"""Find the processes that listen on TCP ports."""

from __future__ import annotations

import psutil


def listeners() -> dict[int, int | None]:
    """Return process id by listening port; None for a process of another user."""
    by_port = {}
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            by_port[connection.laddr.port] = connection.pid
    return by_port


def port_owner(port: int) -> str:
    """Describe the process that listens on a port, for a message."""
    return describe_process(listeners().get(port))


def describe_process(pid: int | None) -> str:
    """Describe a process, for a message: its id and command line."""
    if pid is None:
        return "a process of another user"
    try:
        return f"pid {pid} ({' '.join(psutil.Process(pid).cmdline())[:120]})"
    except psutil.Error:
        return f"pid {pid}"
