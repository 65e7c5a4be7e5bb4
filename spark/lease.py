"""One driver on the checkpoints, whatever happened to the one before.

The lease is a lock that the driver's JVM holds on a file beside the checkpoints, so the kernel gives it back the
moment that JVM ends, by kill -9 too, and needs no store to be up. A scheduler that was killed and restarted may start
a second driver while the first still runs as an orphan. The newcomer is the one that Airflow watches, so it asks the
holder to stop, waits, and only ends it by force when it does not.

The lock is the JVM's, not Python's: the JVM writes the checkpoints, and can outlive its Python half for a moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import structlog

from tickhouse.errors import LeaseHeld
from tickhouse.settings import Settings

# Takes the lock of a file; returns what keeps it, or None when another process has it.
TryLock = Callable[[Path], Any | None]

log = structlog.get_logger("spark.lease")

# A driver ends its open batches on SIGTERM: the longest is a lake batch, some seconds.
ASK_S = 45.0
FORCE_S = 15.0
_EVERY_S = 0.2


def stream_folder(settings: Settings) -> Path:
    """Return the folder of checkpoints, lease, progress and stop file."""
    return settings.home / "stream"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds the lease; the start time tells it from a later process with the same id."""

    pid: int
    started_at: float

    @classmethod
    def of(cls, pid: int) -> Holder:
        """Return the holder record of a living process."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """Return the process when it is still the same one."""
        try:
            process = psutil.Process(self.pid)
            return process if abs(process.create_time() - self.started_at) < 0.01 else None
        except psutil.NoSuchProcess:
            return None


class Lease:
    """The lease of one checkpoint folder.

    Args:
        folder: The folder that holds the checkpoints.
        try_lock: Takes the lock for the process `own_pid`.
        own_pid: The JVM.
    """

    def __init__(self, folder: Path, try_lock: TryLock, own_pid: int) -> None:
        self._lock_file = folder / "lease.lock"
        self._holder_file = folder / "lease.json"
        self._try_lock = try_lock
        self._own_pid = own_pid
        self._lock: Any | None = None

    def acquire(self, *, ask_s: float = ASK_S, force_s: float = FORCE_S) -> None:
        """Take the lease, ending an earlier driver if there is one.

        Raises:
            LeaseHeld: The holder outlived a kill (or is on another machine).
        """
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        if not (
            self._wait(0.0)
            or (self._signal(signal.SIGTERM) and self._wait(ask_s))
            or (self._signal(signal.SIGKILL) and self._wait(force_s))
        ):
            raise LeaseHeld(
                f"Another driver holds {self._lock_file} and did not end.",
                safe="No batch was started.",
                next_command=f"cat {self._holder_file}",
            )
        self._holder_file.write_text(json.dumps(asdict(Holder.of(self._own_pid))))

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            self._lock = self._try_lock(self._lock_file)
            if self._lock is not None or time.monotonic() >= deadline:
                return self._lock is not None
            time.sleep(_EVERY_S)

    def _signal(self, number: signal.Signals) -> bool:
        process = self._holder_process()
        if process is not None:
            log.warning("lease_takeover", pid=process.pid, signal=number.name)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        return True

    def _holder_process(self) -> psutil.Process | None:
        try:
            return Holder(**json.loads(self._holder_file.read_text())).process()
        except (FileNotFoundError, ValueError, TypeError):
            # Killed between lock and record: the lock frees itself when that JVM ends.
            return None


def jvm_lock(jvm: Any) -> tuple[TryLock, int]:
    """Return a `try_lock` on behalf of the JVM behind py4j, and that JVM's process id.

    A POSIX lock: the kernel frees it at the end of the JVM.
    """

    def try_lock(path: Path) -> Any | None:
        file = jvm.java.io.RandomAccessFile(str(path), "rw")
        lock = file.getChannel().tryLock()
        if lock is None:
            file.close()
        return lock

    return try_lock, jvm.java.lang.ProcessHandle.current().pid()
