"""A driver that Airflow stops may finish its open batches first.

The hook of Airflow's own operator would kill it at once.
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
STOP = """
import os, subprocess, sys
from pathlib import Path
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from tickhouse.dag_tasks.stream_trades import StreamSubmitOperator
stop = Path(os.environ["TICKHOUSE_HOME"]) / "stream" / "stop"
stop.parent.mkdir()
driver = "import pathlib, sys, time\\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)\\nprint('drained')"
child = subprocess.Popen([sys.executable, "-c", driver, str(stop)])
SparkSubmitOperator.on_kill = lambda operator: child.kill()
StreamSubmitOperator(task_id="stream", application="any").on_kill()
print("stop file left" if stop.exists() else "stop file gone")
"""


def test_stopped_task_lets_the_driver_end_and_stops_no_later_one(tmp_path: Path) -> None:
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "PYTHONPATH": str(REPO), "TICKHOUSE_HOME": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STOP], env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines()[-2:] == ["drained", "stop file gone"], done.stderr[-2000:]
