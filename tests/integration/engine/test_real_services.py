"""Real PostgreSQL and Redis, started by the command line in a home of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from common.settings import Settings, load_settings, ports
from stack.engine import supervisor
from stack.engine.port_owners import listeners
from stack.engine.processes import has_ended, process_tree
from tests.eventually import eventually
from tests.homes import own_home

pytestmark = pytest.mark.integration

TICKHOUSE = Path(sys.prefix) / "bin" / "tickhouse"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with own_home() as made:
        tickhouse("up", "--service", "postgres", "--service", "redis")
        yield made


def tickhouse(*arguments: str, expected: int = 0) -> str:
    done = subprocess.run([TICKHOUSE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def client(settings: Settings) -> redis.Redis:
    return redis.Redis.from_url(settings.redis_dsn(), decode_responses=True)


def of_status(name: str) -> dict[str, Any]:
    services = json.loads(tickhouse("status", "--json"))["services"]
    return next(one for one in services if one["name"] == name)


def test_status_reports_what_responds(home: Path) -> None:
    postgres = of_status("postgres")

    assert (postgres["health"], postgres["is_external"]) == ("ready", False)
    assert postgres["memory_mb"] > 0
    assert of_status("kafka")["health"] == "stopped"


def test_up_again_leaves_everything_running(home: Path) -> None:
    before = of_status("postgres")["pids"], of_status("redis")["pids"]

    document = json.loads(tickhouse("up", "--service", "postgres", "--service", "redis", "--json"))

    assert [one["state"] for one in document["services"]] == ["ready", "ready"]
    assert (of_status("postgres")["pids"], of_status("redis")["pids"]) == before


def test_redis_that_was_killed_comes_back_with_its_data(home: Path) -> None:
    settings = load_settings()
    with closing(client(settings)) as store:
        store.set("kept", "1")
        # With appendfsync everysec a write reaches the kernel at once, so kill -9 does not lose it;
        # a power cut may.
        pid = supervisor.state("redis").pid
        os.kill(pid, signal.SIGKILL)

        eventually(lambda: supervisor.state("redis").pid not in (0, pid))
        eventually(lambda: of_status("redis")["health"] == "ready")
        assert store.get("kept") == "1"


def test_redis_needs_the_password_and_evicts_nothing(home: Path) -> None:
    settings = load_settings()
    with closing(redis.Redis(port=ports()["redis"])) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with closing(client(settings)) as store:
        assert store.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_the_roles_may_do_their_own_job_only(home: Path) -> None:
    settings = load_settings()
    with psycopg.connect(settings.database_dsn("reader")) as reader:
        assert reader.execute("SELECT count(*) FROM market.candles_1m").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM market.candles_1m")
    with psycopg.connect(settings.database_dsn("stream")) as stream:
        stream.execute("SELECT 1 FROM market.trade_ranges")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stream.execute("CREATE TABLE market.mine ()")
    with psycopg.connect(settings.database_dsn("owner")) as owner:
        assert owner.execute("SHOW server_version").fetchone()[0].startswith("16")  # type: ignore[index]


def test_postgres_does_not_run_as_root(home: Path) -> None:
    pid = supervisor.state("postgres").pid
    words = psutil.Process(pid).cmdline()
    assert words[0].endswith("/postgres")
    if os.geteuid() != 0:
        assert psutil.Process(pid).uids().effective == os.geteuid()
        return
    # In a user namespace it is user 1000 inside and root outside; the uid map shows that.
    inside_of_root = int(Path(f"/proc/{pid}/uid_map").read_text().split()[0])
    assert psutil.Process(pid).uids().effective != 0 or inside_of_root == 1000


def test_each_migration_is_applied_once_and_none_may_change(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from common.errors import ConfigurationError
    from stack.engine.lifecycle import catalog, context_of
    from stack.postgres import setup

    monkeypatch.setattr(setup, "MIGRATIONS", tmp_path)
    monkeypatch.setattr(setup, "REPO", tmp_path)
    first = tmp_path / "900_first.sql"
    first.write_text("CREATE TABLE once (n int); INSERT INTO once VALUES (1);")
    context = context_of(catalog()["postgres"])
    for _ in range(2):
        setup.migrate(context)

    (tmp_path / "901_broken.sql").write_text("CREATE TABLE half (n int); SELECT nonsense;")
    with pytest.raises(ConfigurationError, match=r"901_broken\.sql fails.*nonsense"):
        setup.migrate(context)
    first.write_text("CREATE TABLE once (n bigint);")
    with pytest.raises(ConfigurationError, match=r"900_first\.sql was changed"):
        setup.migrate(context)
    with psycopg.connect(load_settings().database_dsn("owner")) as owner:
        assert owner.execute("SELECT count(*) FROM once").fetchone() == (1,)
        assert owner.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_no_secret_is_on_a_command_line(home: Path) -> None:
    secrets = [line.split("=", 1)[1] for line in (home / "secrets.env").read_text().splitlines() if "=" in line]
    lines = []
    for process in process_tree(supervisor.supervisor_pid() or 0):
        with contextlib.suppress(psutil.NoSuchProcess):  # a backend of PostgreSQL may end in between
            lines.append(" ".join(process.cmdline()))

    assert len(lines) > 2
    assert not [line for line in lines if any(secret in line for secret in secrets)]


def test_purge_leaves_nothing(home: Path) -> None:
    processes = [one.pid for one in process_tree(supervisor.supervisor_pid() or 0)]
    assert ports()["redis"] in listeners()

    tickhouse("down", "--purge")

    assert not [pid for pid in processes if not has_ended(pid)]
    assert not set(ports().values()) & set(listeners())
    assert not home.exists()
    tickhouse("down", "--purge")
