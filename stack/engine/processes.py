"""Inspect and end operating-system processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil

TERM_WAIT_S = 25.0
# In the process title of an idle worker of Airflow's LocalExecutor. Such a worker ignores SIGTERM
# and waits for a message from its scheduler; if the scheduler was killed, it waits for ever.
IDLE_WORKER = "<idle>"


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; empty when the process has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def has_ended(pid: int) -> bool:
    """Return whether a process has ended; a zombie counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end_processes(processes: Iterable[psutil.Process]) -> None:
    """Send SIGTERM, then SIGKILL to what is still alive.

    Idle Airflow workers get SIGKILL at once.
    """
    ending = list(processes)
    for process in ending:
        with contextlib.suppress(psutil.NoSuchProcess):
            if IDLE_WORKER in " ".join(process.cmdline()):
                process.kill()
            else:
                process.terminate()
    _, alive = psutil.wait_procs(ending, timeout=TERM_WAIT_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=TERM_WAIT_S)
