"""A home of an earlier release is read and extended by this one (docs/how-to/upgrade.md).

The earlier release runs from its own commit, in the environment of this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from common.settings import REPO, Settings, load_settings
from stack.engine.lifecycle import up
from stack.postgres.setup import MIGRATIONS
from tests.e2e.archives import write_archive
from tests.e2e.lakehouse import assert_conserved, await_stream, bronze, candle_rows, record_count, tickhouse
from tests.e2e.test_statistics import offered
from tests.homes import own_home
from tickhouse.demo.publication import commit_lake

# It starts the lakehouse of two releases.
pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]

# Commits that landed on main as a release.
RELEASES = ["c7aa3e34f792d30bf3703f6d1a4f3b96d28225c9"]
TRADES = 2_000


def release(commit: str, folder: Path) -> Path:
    """Return a folder with the files of a commit; skip the test where the clone lacks it."""
    git = ["git", "-C", str(REPO)]
    if subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False).returncode:
        pytest.skip(f"this clone lacks commit {commit[:7]}: git fetch --unshallow brings it")
    archive = subprocess.run([*git, "archive", commit], capture_output=True, check=True).stdout
    folder.mkdir(mode=0o755)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def earlier(tree: Path, *arguments: str | Path, timeout_s: float = 600.0) -> str:
    """Run a command of the earlier release and return its standard output."""
    command = [sys.executable, "-c", "from tickhouse.cli import app; app()", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return done.stdout


def migrations(settings: Settings) -> list[str]:
    with psycopg.connect(settings.database_dsn("owner"), connect_timeout=5) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM public.schema_migrations ORDER BY 1")]


def reconcile() -> dict[str, Any]:
    report: dict[str, Any] = tickhouse("reconcile", "--wait", "300", timeout_s=420)
    assert_conserved(report)
    return report


@pytest.mark.parametrize("commit", RELEASES)
def test_data_of_an_earlier_release_is_read_and_extended(commit: str, tmp_path: Path) -> None:
    tree = release(commit, tmp_path / "earlier")
    before = write_archive(tmp_path / "DOTUSDT-aggTrades-2024-08-07.csv", offered(0, TRADES))
    # The second file repeats half of the first.
    after = write_archive(tmp_path / "DOTUSDT-aggTrades-2024-08-08.csv", offered(TRADES // 2, TRADES))
    with own_home():
        earlier(tree, "up")
        earlier(tree, "replay", before, "--market", "spot", "--json")
        old = json.loads(earlier(tree, "reconcile", "--wait", "300", "--json"))
        earlier(tree, "down")
        assert (old["ok"], old["offered"]) == (True, TRADES)

        up()
        settings = load_settings()
        await_stream(settings)
        assert migrations(settings) == sorted(path.name for path in MIGRATIONS.glob("*.sql"))
        kept = reconcile()
        assert kept["stores"]["postgres"]["hash"] == old["stores"]["postgres"]["hash"]
        bars = candle_rows(settings)

        tickhouse("replay", after, "--market", "spot", timeout_s=400)
        whole = reconcile()
        assert (whole["offered"], whole["known_duplicates"]) == (TRADES * 2, TRADES // 2)
        assert record_count(settings) == TRADES * 3 // 2
        # The last bar of the first file had one or two of its three trades.
        assert set(bars[:-1]) <= set(candle_rows(settings))
        commit_lake(settings)
        rows = bronze(settings)
        assert len({row.event_id for row in rows}) == len(rows) == TRADES * 3 // 2
