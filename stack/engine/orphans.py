"""Find orphans: processes of this home that outlived their supervisord.

They remain when supervisord was killed, or when a program started a child in a process group of its
own.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

from common.settings import home
from stack.engine.context import MARKER
from stack.engine.processes import has_ended, process_tree
from stack.engine.supervisor import run_dir, supervisor_pid


def orphans() -> list[psutil.Process]:
    """Return the processes of this home that are not descendants of its supervisord, parents first.

    A process belongs to this home when one of these holds:

    - its environment has our marker, which Spark and Airflow tasks inherit;
    - its process id is recorded in the run folder (a server that rewrites its title also overwrites
      the environment that can be read);
    - it works in a data folder of this home and its environment cannot be read (the workers of an
      Airflow scheduler that was killed).
    """
    supervisor = supervisor_pid()
    supervised = {process.pid for process in process_tree(supervisor)} if supervisor else set()
    supervised |= {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    ours = [*_with_marker(), *_with_recorded_id(), *_with_rewritten_title()]
    with_descendants = {process.pid: process for root in ours for process in process_tree(root.pid)}
    unsupervised = [process for pid, process in sorted(with_descendants.items()) if pid not in supervised]
    return [process for process in unsupervised if not has_ended(process.pid)]


def _with_marker() -> list[psutil.Process]:
    marker = f"{MARKER}={home()}".encode()
    return [process for process in psutil.process_iter() if marker in _environment(process.pid).split(b"\0")]


def _with_rewritten_title() -> list[psutil.Process]:
    data = str(home() / "data") + os.sep
    in_data = (process for process in psutil.process_iter() if _working_folder(process.pid).startswith(data))
    return [process for process in in_data if _has_no_environment(process.pid)]


def _has_no_environment(pid: int) -> bool:
    # The shell of a person who works in such a folder has an environment that can be read.
    return b"=" not in _environment(pid)


def _working_folder(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:  # it ended, or belongs to another user
        return ""


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it ended, or belongs to another user
        return b""


def _with_recorded_id() -> list[psutil.Process]:
    processes = []
    for path in run_dir().glob("*.pid"):
        with contextlib.suppress(psutil.NoSuchProcess, ValueError, FileNotFoundError):
            process = psutil.Process(int(path.read_text()))
            # Process ids are reused after a reboot. A process of this home was already running when
            # it wrote the file.
            if process.create_time() <= path.stat().st_mtime + 1:
                processes.append(process)
    return processes
