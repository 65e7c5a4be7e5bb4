"""Sessions of pytest that clean up after a killed one do not stumble over each other."""

from __future__ import annotations

import multiprocessing
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests import homes

FORK = multiprocessing.get_context("fork")


def dead_process_id() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_workers_that_remove_the_same_homes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pid = dead_process_id()
    for number in range(300):
        (tmp_path / f"{homes.PREFIX}{number}").mkdir()
        (tmp_path / f"{homes.PREFIX}{number}.owner").write_text(f"{pid} ")

    workers = [FORK.Process(target=homes._remove_homes_of_killed_sessions) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert list(tmp_path.iterdir()) == []
