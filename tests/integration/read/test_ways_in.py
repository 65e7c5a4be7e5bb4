"""Every block of docs/how-to/ways-in.md, on a running lake and PostgreSQL, and JupyterLab."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from queue import Queue

import httpx
import psutil
import pytest

from common.settings import REPO
from tests.conftest import Stack
from tests.e2e.lakehouse import TICKHOUSE
from tests.integration.read.built_lake import Lake
from tests.ports import free_port
from tests.unit.docs.pages import fenced

pytestmark = pytest.mark.integration
PAGE = (REPO / "docs" / "how-to" / "ways-in.md").read_text(encoding="utf-8")
BLOCKS = list(fenced(PAGE, "python"))
PSQL = next(block for block in fenced(PAGE, "sh") if block.startswith("tickhouse sql"))
START_TIMEOUT_S = 60


def shown_by(block: str, lake: Lake) -> str:
    """Run a block as a program of its own, as of the lake's branch, and return what it prints."""
    text = block.replace('"main"', f'"{lake.branch}"').replace("/main/", f"/{lake.branch}/")
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_page_has_a_block_for_each_way() -> None:
    assert len(BLOCKS) == 3
    assert "make notebook" in "".join(fenced(PAGE, "sh"))


def test_psql(stack: Stack) -> None:
    stack.up("postgres")
    query = re.search(r'"(.+)"', PSQL)
    assert query

    done = subprocess.run([TICKHOUSE, "sql", query[1]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asked = "\\d+ market.candles\n"
    shown = subprocess.run([TICKHOUSE, "sql"], input=asked, capture_output=True, text=True, check=True).stdout
    assert "start of the minute, UTC" in shown


def test_duckdb(lake: Lake) -> None:
    shown = shown_by(BLOCKS[0], lake)
    assert "BTCUSDT" in shown
    assert "volume" in shown


def test_pandas(lake: Lake) -> None:
    shown = shown_by(BLOCKS[1], lake)
    assert "2024-08-08" in shown
    assert f"as of commit {lake.commit_id}" in shown


def test_spark(lake: Lake) -> None:
    assert re.search(r"BTCUSDT\|2024-08-08\| *\d+", shown_by(BLOCKS[2], lake))


@pytest.fixture
def jupyter() -> Iterator[tuple[str, str, int]]:
    """Yield address, token and process id of a JupyterLab that `make notebook` started."""
    port = free_port()
    made = subprocess.Popen(
        ["make", "notebook", f"NOTEBOOK_PORT={port}"],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    found: Queue[str] = Queue()
    reader = threading.Thread(target=_tokens, args=(made, found), daemon=True)
    reader.start()
    try:
        yield f"http://127.0.0.1:{port}", found.get(timeout=START_TIMEOUT_S), made.pid
    finally:
        os.killpg(made.pid, signal.SIGKILL)
        made.wait()
        reader.join()
        if made.stdout:
            made.stdout.close()


def _tokens(made: subprocess.Popen[str], found: Queue[str]) -> None:
    """Put the token of the first address into the queue; go on reading, so that it never waits."""
    for line in made.stdout or ():
        token = re.search(r"http://127\.0\.0\.1:\d+/lab\S*\?token=(\w+)", line)
        if token:
            found.put(token[1])


def test_jupyter_listens_on_loopback_and_wants_its_token(jupyter: tuple[str, str, int]) -> None:
    address, token, pid = jupyter
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        assert client.get("/api/contents/notebooks").status_code == 403
        login = {"Authorization": f"token {token}"}
        names = {one["name"] for one in client.get("/api/contents/notebooks", headers=login).json()["content"]}
        kernel = client.post("/api/kernels", headers=login, json={"name": "python3"})
        assert kernel.status_code == 201, kernel.text
        assert client.delete(f"/api/kernels/{kernel.json()['id']}", headers=login).status_code == 204

    assert {"monthly.ipynb", "measures.ipynb"} <= names
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    listening = {one.laddr.ip for made in processes for one in made.net_connections() if one.status == "LISTEN"}
    assert listening == {"127.0.0.1"}
