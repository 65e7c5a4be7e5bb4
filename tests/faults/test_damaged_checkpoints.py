"""A power cut damages each checkpoint; the commands of a how-to page repair all of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.clients.airflow import AirflowApi
from common.settings import REPO, Settings
from spark.checkpoints import lost_offsets
from tests.conftest import Stack
from tests.e2e.archives import write_numbered_archive
from tests.e2e.lakehouse import TICKHOUSE, assert_conserved, await_stream, tickhouse
from tests.runbook.following import FollowedPage
from tickhouse.stream.lease import stopped_driver

pytestmark = [pytest.mark.faults, pytest.mark.long]

PAGE = REPO / "docs" / "how-to" / "debug-a-stopped-query.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    settings = stack.up()
    await_stream(settings)
    return settings


def commands(page: Path) -> Iterator[str]:
    """Yield the command lines of a page, in order."""
    for block in BLOCK.findall(page.read_text()):
        yield from block.splitlines()


def damage(checkpoints: Path) -> None:
    """Damage each checkpoint in another way that a power cut may cause."""
    newest = {
        name: max(map(int, files_of(checkpoints / name / "offsets")), default=0) for name in ("candles", "enriched")
    }
    (checkpoints / "candles" / "offsets" / str(newest["candles"])).write_text("")
    (checkpoints / "enriched" / "offsets" / str(newest["enriched"])).write_bytes(b"\0" * 700)
    (checkpoints / "enriched" / "metadata").unlink()
    for path in (checkpoints / "last" / "commits").iterdir():
        path.write_text("")
    (checkpoints / "lake_trades" / "sources" / "0" / "0").write_text("")
    shutil.rmtree(checkpoints / "lake_ticks")


def files_of(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.isdigit()]


def test_the_commands_of_the_page_end_with_a_clean_reconcile(settings: Settings, stack: Stack) -> None:
    stream, files = stack.home / "stream", stack.home / "recorded"
    tickhouse("replay", write_numbered_archive(files, "POWERUSDT", 1, 600), "--market", "spot", timeout_s=400)
    with stopped_driver(stream):
        damage(stream / "checkpoints")
        tickhouse("replay", write_numbered_archive(files, "POWERUSDT", 601, 900), "--market", "spot", "--no-wait")

    for line in commands(PAGE):
        program, *words = line.split()
        assert program == "tickhouse", line
        done = subprocess.run([TICKHOUSE, *words], capture_output=True, text=True, timeout=420, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"

    assert_conserved(tickhouse("reconcile", "--wait", "60", timeout_s=200))
    aside = {path.name.split("-")[0] for path in (stream / "aside").glob("*-checkpoint_damaged")}
    assert aside == {"candles", "enriched", "last", "lake_trades"}
    assert lost_offsets.unresolved(stream) == []
    await_stream(settings)
    begun = {one["name"]: one["reason"] for one in tickhouse("stream", "status")}
    assert set(begun.values()) <= {"checkpoint_damaged", "new", "sound"}


@pytest.mark.runbook("query-stopped")
def test_a_damaged_query_whose_dag_is_paused(settings: Settings, stack: Stack, followed: FollowedPage) -> None:
    stream = stack.home / "stream"
    with AirflowApi(settings) as airflow, stopped_driver(stream):
        airflow.pause("stream_trades", is_paused=True)
        for path in (stream / "checkpoints" / "last" / "commits").iterdir():
            path.write_text("")
        tickhouse("replay", write_numbered_archive(stack.home / "recorded", "PAUSEUSDT", 1, 300), "--market", "spot",
                  "--no-wait")  # fmt: skip

    assert "stopped" in followed.check()
    followed.repair()

    await_stream(settings)
    assert_conserved(tickhouse("reconcile", "--wait", "60", timeout_s=200))
