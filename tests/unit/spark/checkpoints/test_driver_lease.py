from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from common.errors import LeaseHeld
from spark.checkpoints.driver_lease import Lease, LeaseHolder, TryLock
from tests.eventually import eventually

HOLD = """
import fcntl, signal, sys
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
signal.pause()
"""


@pytest.fixture
def try_lock() -> Iterator[TryLock]:
    """Take the same kind of lock as the JVM does: POSIX, released by the kernel."""
    with ExitStack() as held:

        def lock(path: Path) -> Any | None:
            file = path.open("w")
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return None
            return held.enter_context(file)

        yield lock


def holder(folder: Path, manners: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder / "lease.lock"), manners]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    record = LeaseHolder.of(process.pid)
    (folder / "lease.json").write_text(json.dumps({"pid": record.pid, "started_at": record.started_at}))
    return process


def test_free_lease_is_taken_and_recorded(tmp_path: Path, try_lock: TryLock) -> None:
    Lease(tmp_path / "stream", try_lock, os.getpid()).acquire()
    assert json.loads((tmp_path / "stream" / "lease.json").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("manners", "ending", "ask_s"), [("polite", signal.SIGTERM, 10.0), ("deaf", signal.SIGKILL, 0.5)]
)
def test_earlier_driver_is_asked_to_stop_then_killed(
    tmp_path: Path, try_lock: TryLock, manners: str, ending: signal.Signals, ask_s: float
) -> None:
    earlier = holder(tmp_path, manners)
    Lease(tmp_path, try_lock, os.getpid()).acquire(ask_s=ask_s, force_s=10)
    assert earlier.wait(10) == -ending


def test_process_with_a_reused_id_is_left_alone(tmp_path: Path, try_lock: TryLock) -> None:
    earlier = holder(tmp_path, "polite")
    (tmp_path / "lease.json").write_text(json.dumps({"pid": earlier.pid, "started_at": 1.0}))
    with pytest.raises(LeaseHeld):
        Lease(tmp_path, try_lock, os.getpid()).acquire(ask_s=0.1, force_s=0.1)
    assert earlier.poll() is None
    earlier.kill()
    eventually(lambda: earlier.poll() is not None)
