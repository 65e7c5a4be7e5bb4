"""The lease that lets only one driver work on the checkpoints.

The lease is a file lock beside the checkpoints. The kernel releases it as soon as its holder ends,
also after kill -9, and it depends on no store. A scheduler that was killed and restarted
may start a second driver while the first one still runs. Airflow watches the new driver, so the new
one takes over: it asks the holder to stop, waits, and kills it only when it does not stop.

The JVM of the driver holds the lock, not its Python process, because the JVM writes the checkpoints
and can live a moment longer.
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

from common.errors import LeaseHeld
from common.settings import Settings

# Takes the lock of a file. Returns an object that keeps the lock, or None when another process has
# it.
TryLock = Callable[[Path], Any | None]

log = structlog.get_logger("spark.checkpoints.driver_lease")

# On SIGTERM a driver finishes its open batches. The longest is a lake batch, which takes some
# seconds.
ASK_S = 45.0
# After SIGKILL.
FORCE_S = 15.0
_EVERY_S = 0.2


def stream_folder(settings: Settings) -> Path:
    """Return the folder of checkpoints, lease, progress and stop file."""
    return settings.home / "stream"


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The process that holds the lease.

    Its start time distinguishes it from a later process with the same id.
    """

    pid: int
    started_at: float

    @classmethod
    def of(cls, pid: int) -> LeaseHolder:
        """Return the record of a running process."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """Return the process; None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            return process if abs(process.create_time() - self.started_at) < 0.01 else None
        except psutil.NoSuchProcess:
            return None


class Lease:
    """The lease on a folder of checkpoints.

    Args:
        folder: The folder that holds the checkpoints.
        try_lock: Takes the lock for the process `own_pid`.
        own_pid: Process id of the driver's JVM.
    """

    def __init__(self, folder: Path, try_lock: TryLock, own_pid: int) -> None:
        self._lock_file = folder / "lease.lock"
        self._holder_file = folder / "lease.json"
        self._try_lock = try_lock
        self._own_pid = own_pid
        self._lock: Any | None = None

    def acquire(self, *, ask_s: float = ASK_S, force_s: float = FORCE_S) -> None:
        """Take the lease; end the driver that holds it, if there is one.

        Args:
            ask_s: How long to wait for the holder after SIGTERM.
            force_s: How long to wait for it after SIGKILL.

        Raises:
            LeaseHeld: The holder did not end, for instance because it runs on another machine.
        """
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        self._wait_for_lock(0.0)
        for number, seconds in ((signal.SIGTERM, ask_s), (signal.SIGKILL, force_s)):
            if self._lock is None:
                self._signal_holder(number)
                self._wait_for_lock(seconds)
        if self._lock is None:
            raise LeaseHeld(
                f"Another driver holds {self._lock_file} and did not end.",
                safe="No batch was started.",
                next_command=f"cat {self._holder_file}",
            )
        self._holder_file.write_text(json.dumps(asdict(LeaseHolder.of(self._own_pid))))

    def _wait_for_lock(self, seconds: float) -> None:
        """Try to take the lock until it is free or the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            self._lock = self._try_lock(self._lock_file)
            if self._lock is not None or time.monotonic() >= deadline:
                return
            time.sleep(_EVERY_S)

    def _signal_holder(self, number: signal.Signals) -> None:
        process = self._holder_process()
        if process is not None:
            log.warning("lease_takeover", pid=process.pid, signal=number.name)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _holder_process(self) -> psutil.Process | None:
        try:
            return LeaseHolder(**json.loads(self._holder_file.read_text())).process()
        except (FileNotFoundError, ValueError, TypeError):
            # The holder was killed after it took the lock and before it wrote the record. Its lock
            # is released when its JVM ends.
            return None


def jvm_lock(jvm: Any) -> tuple[TryLock, int]:
    """Return a function that takes a lock in the JVM behind py4j, and the process id of that JVM.

    It is a POSIX lock, so the kernel releases it when the JVM ends.
    """

    def try_lock(path: Path) -> Any | None:
        file = jvm.java.io.RandomAccessFile(str(path), "rw")
        lock = file.getChannel().tryLock()
        if lock is None:
            file.close()
        return lock

    return try_lock, jvm.java.lang.ProcessHandle.current().pid()
