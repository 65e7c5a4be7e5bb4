"""Processes whose parent was killed, which `tickhouse down` must find and end."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from stack.engine.orphans import orphans
from stack.engine.processes import end_processes, has_ended

pytestmark = pytest.mark.faults

# Workers of Airflow's scheduler write their title over the environment that other processes can
# read.
RETITLED = (
    "import setproctitle, signal; setproctitle.setproctitle('worker <idle>'); print('up', flush=True); signal.pause()"
)
PLAIN = "import signal; print('up', flush=True); signal.pause()"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    (tmp_path / "data" / "airflow").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "folder", "is_ours"),
    [(RETITLED, "data/airflow", True), (PLAIN, "data/airflow", False), (RETITLED, ".", False)],
    ids=["worker of a killed scheduler", "another program in the folder", "another program with a title"],
)
def test_retitled_worker_is_found_by_its_folder(home: Path, code: str, folder: str, is_ours: bool) -> None:
    with ExitStack() as ended:
        child = ended.enter_context(
            subprocess.Popen([sys.executable, "-c", code], cwd=home / folder, stdout=subprocess.PIPE, text=True)
        )
        ended.callback(child.kill)
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"

        assert (child.pid in [process.pid for process in orphans()]) is is_ours


def test_idle_worker_is_ended_without_being_asked() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True)); " + RETITLED
    with (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child,
        ExitStack() as ended,
    ):
        ended.callback(child.kill)
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"

        end_processes([psutil.Process(child.pid)])

        assert has_ended(child.pid)
        assert child.stdout.read() == ""
