"""Find and end what outlived its supervisord: it was killed, or a program put a child into a group of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import psutil

from stack.engine.context import MARKER
from stack.engine.supervise import run_dir, supervisor_pid
from tickhouse.settings import home

TERM_WAIT_S = 25.0
# In the title of a worker of Airflow's LocalExecutor that has no task. It waits for a message of its scheduler, without
# end when that was killed, and does not heed SIGTERM: that is for its task.
IDLE = "<idle>"


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def orphans() -> list[psutil.Process]:
    """Return processes of this home that its supervisord does not stand above, parents first.

    Known by the marker in their environment (inherited down to Spark and task processes), by the recorded process id
    (a server that rewrites its title also overwrites the environment that can be read), or by the folder that such a
    server's children work in (the workers of an Airflow scheduler that was killed).
    """
    supervisor = supervisor_pid()
    kept = {process.pid for process in tree(supervisor)} if supervisor else set()
    kept |= {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = [*_marked(), *_recorded(), *_retitled()]
    everything = {process.pid: process for one in found for process in tree(one.pid)}
    return [process for pid, process in sorted(everything.items()) if pid not in kept and not is_gone(pid)]


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; one that nobody has reaped yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end(processes: Iterable[psutil.Process]) -> None:
    """Ask processes to end, then kill those that do not; idle workers are not asked."""
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.NoSuchProcess):
            if IDLE in " ".join(process.cmdline()):
                process.kill()
            else:
                process.terminate()
    _, alive = psutil.wait_procs(asked, timeout=TERM_WAIT_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=TERM_WAIT_S)


def _marked() -> list[psutil.Process]:
    mark = f"{MARKER}={home()}".encode()
    return [process for process in psutil.process_iter() if mark in _environment(process.pid).split(b"\0")]


def _retitled() -> list[psutil.Process]:
    data = str(home() / "data") + os.sep
    found = (process for process in psutil.process_iter() if _folder(process.pid).startswith(data))
    return [process for process in found if _has_no_environment(process.pid)]


def _has_no_environment(pid: int) -> bool:
    # Whoever works in there by hand, a shell above all, has an environment that can be read.
    return b"=" not in _environment(pid)


def _folder(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:  # it ended, or is not ours
        return ""


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it ended, or is not ours
        return b""


def _recorded() -> list[psutil.Process]:
    found = []
    for path in run_dir().glob("*.pid"):
        with contextlib.suppress(psutil.NoSuchProcess, ValueError, FileNotFoundError):
            process = psutil.Process(int(path.read_text()))
            # A process id is given out again after a reboot: ours was there when it wrote the file.
            if process.create_time() <= path.stat().st_mtime + 1:
                found.append(process)
    return found
