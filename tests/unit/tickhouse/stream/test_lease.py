"""The lease from outside: a process that holds it is asked to end, and waited for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import LeaseHeld
from tickhouse.stream.lease import is_held, stopped_driver

# Holds the lock as the JVM does, and ends when the stop file appears (or never).
HOLDER = """
import fcntl, pathlib, sys, time
folder, heeds = pathlib.Path(sys.argv[1]), sys.argv[2] == "heeds"
file = (folder / "lease.lock").open("ab+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
while not (heeds and (folder / "stop").exists()):
    time.sleep(0.02)
"""


@contextmanager
def holder(folder: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_driver_is_asked_to_end_and_its_stop_file_goes(tmp_path: Path) -> None:
    with holder(tmp_path, "heeds"):
        assert is_held(tmp_path)
        with stopped_driver(tmp_path, wait_s=30) as had_driver:
            assert had_driver
            assert not (tmp_path / "stop").exists()
    assert not is_held(tmp_path)


def test_a_driver_that_does_not_end_is_not_killed(tmp_path: Path) -> None:
    with holder(tmp_path, "stays") as process:
        with pytest.raises(LeaseHeld), stopped_driver(tmp_path, wait_s=0.3):
            pass
        assert process.poll() is None
    assert not (tmp_path / "stop").exists()  # it would stop the next driver


def test_without_a_driver_there_is_no_wait(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with stopped_driver(tmp_path) as had_driver:
        assert not had_driver
