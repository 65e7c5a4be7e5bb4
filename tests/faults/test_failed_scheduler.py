"""A scheduler that failed must end, although the task of the streaming job never ends.

Its supervisor starts it again only after it has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.settings import REPO

pytestmark = pytest.mark.faults

# Airflow reads its configuration at import, so it is imported in a process of its own.
FAIL = """
import multiprocessing, signal
from stack.airflow.executor import Executor
executor = Executor(parallelism=1)
executor.start()
endless = multiprocessing.Process(target=signal.pause)
endless.start()
executor.workers[endless.pid] = endless
try:
    try:
        raise RuntimeError("the database is starting up")
    finally:
        executor.end()
except RuntimeError:
    print("ended")
"""


def test_failed_scheduler_does_not_wait_for_a_task_that_never_ends(tmp_path: Path) -> None:
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "PYTHONPATH": str(REPO),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", FAIL], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as scheduler:
        try:
            output, _ = scheduler.communicate(timeout=45)
        finally:
            if scheduler.poll() is None:
                os.killpg(scheduler.pid, 9)

    assert output.splitlines()[-1] == "ended"
    assert scheduler.returncode == 0
