"""Kill parts of a running lakehouse, and watch which driver holds the lease."""

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
import psycopg

from common.settings import Settings
from spark.checkpoints.driver_lease import LeaseHolder
from stack.engine import supervisor
from stack.engine.lifecycle import catalog, context_of
from stack.engine.probe import is_ready
from stack.engine.processes import has_ended, process_tree
from tests.eventually import eventually

SAMPLE_EVERY_S = 0.2

# Locks of rows, and the advisory lock of the scheduler's critical section.
_LOCKS_OF_IDLE_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity AS session JOIN pg_locks AS held USING (pid)
WHERE session.client_port = ANY(%s) AND session.state = 'idle in transaction'
  AND (held.locktype = 'advisory' OR held.mode IN ('RowShareLock', 'RowExclusiveLock'))
"""


def kill(pid: int, *, with_children: bool = False) -> None:
    """Send SIGKILL to a process, then to its descendants if asked.

    The process itself is first, so that it cannot restart a descendant.
    """
    for process in process_tree(pid) if with_children else process_tree(pid)[:1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def kill_program(name: str, *, with_children: bool = False) -> int:
    """Kill a supervised program and return the process id that it had."""
    pid = supervisor.state(name).pid
    assert pid, f"{name} does not run: {supervisor.state(name)}"
    kill(pid, with_children=with_children)
    return pid


@contextlib.contextmanager
def held_within_a_transaction(settings: Settings, process: psutil.Process) -> Iterator[None]:
    """Stop one of Airflow's processes at a moment at which it holds locks in its database.

    It is continued at the end, if it still lives. Its chance to be there at any moment is small on
    a fast machine.
    """
    password = settings.postgres_airflow_password.get_secret_value()
    with psycopg.connect(settings.database_dsn("owner"), dbname="airflow", user="airflow", password=password) as own:
        own.autocommit = True
        eventually(lambda: _stopped_with_locks(own, process), 300.0, 0.02)
        try:
            yield
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def _stopped_with_locks(connection: psycopg.Connection, process: psutil.Process) -> bool:
    process.suspend()
    ports = [link.laddr.port for link in process.net_connections() if link.raddr]
    (held,) = connection.execute(_LOCKS_OF_IDLE_TRANSACTIONS, [ports]).fetchone() or (0,)
    if held == 0:
        process.resume()
    return held > 0


def answers(service: str) -> bool:
    """Return whether a service's own probe succeeds."""
    return is_ready(context_of(catalog()[service]))


def lease_record(stream: Path) -> LeaseHolder | None:
    """Return the recorded holder of the lease; None while there is no complete record."""
    try:
        return LeaseHolder(**json.loads((stream / "lease.json").read_text()))
    except (FileNotFoundError, ValueError):
        return None


def lock_holders(stream: Path) -> set[int]:
    """Return the ids of the processes that hold the lock of the lease, read from the kernel."""
    try:
        inode = (stream / "lease.lock").stat().st_ino
    except FileNotFoundError:
        return set()
    locks = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    # "1: POSIX  ADVISORY  WRITE 4711 fe:01:123456 0 EOF"; a "->" stands before one that waits.
    return {int(words[4]) for words in locks if words[1] == "POSIX" and words[5].rpartition(":")[2] == str(inode)}


def drivers(home: Path) -> list[psutil.Process]:
    """Return the JVMs that run the streaming job of a home."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            line = process.cmdline()
            is_job = (
                "java" in line[0] and any(word.endswith("spark/streaming/job.py") for word in line) if line else False
            )
            if is_job and process.environ().get("TICKHOUSE_HOME") == str(home) and not has_ended(process.pid):
                found.append(process)
    return found


@dataclass
class LeaseWatch:
    """Samples the lease in its own thread.

    Attributes:
        history: All recorded holders, in order.
        violations: Moments at which two drivers could have written.
    """

    stream: Path
    history: list[LeaseHolder] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    samples: int = 0

    def sample(self) -> None:
        """Take one sample."""
        self.samples += 1
        record = lease_record(self.stream)
        holders = lock_holders(
            self.stream
        )  # read after the record, because a driver takes the lock before it writes the record
        if len(holders) > 1:
            self.violations.append(f"{holders} hold the lock together")
        if record is None or (self.history and record == self.history[-1]):
            return
        former = self.history[-1] if self.history else None
        if former is not None and former.process() is not None and not has_ended(former.pid):
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
    """Return the states of the queries as the driver reports them."""
    found: dict[str, Any] = json.loads((stream / "progress.json").read_text())["queries"]
    return found
