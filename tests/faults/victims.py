"""Kill parts of a running lakehouse as a power cut would, and watch who holds the driver's lease."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from spark.lease import Holder
from stack.engine import supervise
from stack.engine.leftovers import is_gone, tree
from stack.engine.lifecycle import catalog, context_of
from stack.engine.probe import is_ready

SAMPLE_EVERY_S = 0.2


def kill(pid: int, *, with_children: bool = False) -> None:
    """Send SIGKILL to a process, or to it and all below it (it first, so that it mends nothing)."""
    for process in tree(pid) if with_children else tree(pid)[:1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def kill_program(name: str, *, with_children: bool = False) -> int:
    """Kill a supervised program and return the process id that it had."""
    pid = supervise.state(name).pid
    assert pid, f"{name} does not run: {supervise.state(name)}"
    kill(pid, with_children=with_children)
    return pid


def answers(service: str) -> bool:
    """Return whether a service's own probe succeeds."""
    return is_ready(context_of(catalog()[service]))


def lease_record(stream: Path) -> Holder | None:
    """Return who recorded itself as holder last; None while there is no whole record."""
    try:
        return Holder(**json.loads((stream / "lease.json").read_text()))
    except (FileNotFoundError, ValueError):
        return None


def lock_holders(stream: Path) -> set[int]:
    """Return the processes that hold the lock of the lease, as the kernel says."""
    try:
        inode = (stream / "lease.lock").stat().st_ino
    except FileNotFoundError:
        return set()
    locks = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    # "1: POSIX  ADVISORY  WRITE 4711 fe:01:123456 0 EOF"; a "->" stands before one that waits.
    return {int(words[4]) for words in locks if words[1] == "POSIX" and words[5].rpartition(":")[2] == str(inode)}


def drivers(home: Path) -> list[psutil.Process]:
    """Return the JVMs that run this home's streaming job."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            line = process.cmdline()
            is_job = "java" in line[0] and any(word.endswith("spark/streaming.py") for word in line) if line else False
            if is_job and process.environ().get("TICKHOUSE_HOME") == str(home) and not is_gone(process.pid):
                found.append(process)
    return found


@dataclass
class LeaseWatch:
    """Samples the lease in a thread of its own.

    Attributes:
        history: Every holder that recorded itself, in order.
        violations: Moments at which two drivers could have written.
    """

    stream: Path
    history: list[Holder] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    samples: int = 0

    def sample(self) -> None:
        """Look once."""
        self.samples += 1
        record = lease_record(self.stream)
        holders = lock_holders(self.stream)  # after the record: who wrote it had the lock before
        if len(holders) > 1:
            self.violations.append(f"{holders} hold the lock together")
        if record is None or (self.history and record == self.history[-1]):
            return
        former = self.history[-1] if self.history else None
        if former is not None and former.process() is not None and not is_gone(former.pid):
            self.violations.append(f"{record} wrote its record while {former} lived")
        if holders and record.pid not in holders:
            self.violations.append(f"{record} wrote its record while {holders} held the lock")
        self.history.append(record)

    @contextlib.contextmanager
    def running(self) -> Iterator[LeaseWatch]:
        """Sample until the block ends."""
        ended = threading.Event()

        def loop() -> None:
            while not ended.wait(SAMPLE_EVERY_S):
                self.sample()

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()


def queries(stream: Path) -> dict[str, Any]:
    """Return what the driver says of its queries."""
    found: dict[str, Any] = json.loads((stream / "progress.json").read_text())["queries"]
    return found
