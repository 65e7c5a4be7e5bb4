"""Two drivers are started at once on the same checkpoints: only one of them remains.

It is the real job, submitted twice. No server has to run for that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.settings import REPO, ports
from spark.conf import jar_list, stream_submit_conf, submit_command
from stack.engine.fetch import jar_dir
from tests.e2e.lakehouse import until
from tests.faults.processes import LeaseWatch, drivers, kill, lease_record, lock_holders
from tests.homes import own_home

pytestmark = pytest.mark.faults


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with own_home():  # for its ports, on which no server listens
        yield tmp_path / "home"


def submit(home: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the job as Airflow does; spark-submit replaces itself by the driver's JVM."""
    jars = jar_list(jar_dir(REPO / "spark" / "jars" / "pom.xml"))
    conf = stream_submit_conf(jars, str(ports()["spark_ui"]))
    command = submit_command(REPO / "spark" / "streaming" / "job.py", conf, master="local[1]")
    environment = os.environ | {
        "TICKHOUSE_HOME": str(home), "PYTHONPATH": str(REPO), "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }  # fmt: skip
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def any_ended(exit_codes: list[int | None]) -> bool:
    return exit_codes != [None, None]


def test_of_two_drivers_started_at_once_one_remains(home: Path, tmp_path: Path) -> None:
    stream = home / "stream"
    with ExitStack() as ended, LeaseWatch(stream).running() as watch:
        submitted = [submit(home, tmp_path / f"{number}.log") for number in range(2)]
        for one in submitted:
            ended.callback(one.wait)
            ended.callback(kill, one.pid, with_children=True)

        until("one of the two to end", lambda: [one.poll() for one in submitted], 90.0, holds=any_ended)
        (survivor,) = [one for one in submitted if one.poll() is None]
        until("its record", lambda: lease_record(stream), 60.0, holds=lambda held: held and held.pid == survivor.pid)
        until("its queries", (stream / "progress.json").exists, 60.0)

        assert [driver.pid for driver in drivers(home)] == [survivor.pid]
        assert lock_holders(stream) == {survivor.pid}
        assert survivor.poll() is None
        assert watch.history[-1].pid == survivor.pid
        assert watch.violations == []
