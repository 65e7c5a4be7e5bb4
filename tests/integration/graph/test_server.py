"""Neo4j as it is started here: logins, reads that cannot write, and data after a kill."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from common.clients.neo4j import connected
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings, ports
from stack.engine import supervisor
from stack.engine.lifecycle import catalog, context_of
from stack.neo4j.setup import set_first_password
from tests.conftest import Stack
from tests.eventually import eventually
from tests.faults.processes import answers, kill_program

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    found = stack.up("neo4j")
    yield found
    with connected(found, "writer") as graph:
        graph.write("MATCH (one:Kept) DELETE one")


def test_data_is_found_again_after_a_kill(settings: Settings) -> None:
    with connected(settings, "writer") as graph:
        graph.write("UNWIND range(1, 1000) AS number MERGE (:Kept {number: number})")

    killed = kill_program("neo4j")

    eventually(lambda: answers("neo4j"), timeout_s=240, every_s=1)
    with connected(settings, "reader") as graph:
        assert graph.read("MATCH (one:Kept) RETURN count(DISTINCT one.number) AS kept") == [{"kept": 1000}]
    assert supervisor.state("neo4j").pid not in (None, killed)


def test_a_read_cannot_write(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"(?i)read access mode"), connected(settings, "reader") as graph:
        graph.read("CREATE (:Kept {number: 0})")


@pytest.mark.parametrize("role", ["admin", "writer", "reader"])
def test_each_user_needs_its_own_password(settings: Settings, role: str) -> None:
    with connected(settings, role) as graph:
        assert graph.read("RETURN 1 AS one") == [{"one": 1}]

    wrong = settings.model_copy(update={f"neo4j_{role}_password": SecretStr("another password")})
    with pytest.raises(StoreUnavailable, match=r"(?i)unauthorized"), connected(wrong, role) as graph:
        graph.read("RETURN 1 AS one")


def test_the_first_password_is_on_no_command_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def record(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    context = context_of(catalog()["neo4j"])
    monkeypatch.setattr(type(context), "data", settings.home / "data" / "not-started-yet")
    monkeypatch.setattr(subprocess, "run", record)
    set_first_password(context)

    ((_, options),) = commands
    file = Path(options.removeprefix("@"))
    assert settings.neo4j_admin_password.get_secret_value() in file.read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}


def test_a_query_reads_no_file_of_this_machine(settings: Settings) -> None:
    with pytest.raises(ConfigurationError), connected(settings, "reader") as graph:
        graph.read(f"LOAD CSV FROM 'file://{os.devnull}' AS line RETURN line")


def test_the_browser_is_served(settings: Settings) -> None:
    page = httpx.get(f"http://127.0.0.1:{ports()['neo4j_http']}/browser/", trust_env=False)

    assert page.status_code == 200
    assert "<title>Neo4j Browser</title>" in page.text
