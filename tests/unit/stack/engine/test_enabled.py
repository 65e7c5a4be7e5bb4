"""Which sinks are enabled, and their logins and addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from common.settings import Settings, ports
from stack.engine import supervisor
from stack.engine.enabled import SINKS, enabled_sinks
from stack.engine.supervisor import ProgramState
from tickhouse.status import sinks


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    for setting in (*SINKS.values(), "tickhouse_port_base"):
        monkeypatch.delenv(setting.upper(), raising=False)
    ports.cache_clear()
    yield
    ports.cache_clear()


def settings(**values: str) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg, arg-type]


def test_no_sink_is_enabled_in_a_core() -> None:
    assert enabled_sinks(settings()) == ()
    assert sinks.sections(settings()) == {}


def test_a_store_that_was_started_is_enabled_even_when_it_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = ProgramState("cassandra", "FATAL", 0, 0, "")
    monkeypatch.setattr(supervisor, "states", lambda: {"cassandra": dead, "kafka": dead})

    assert enabled_sinks(settings()) == ("cassandra",)
    assert set(sinks.sections(settings())) == {"cassandra", "connectors"}


def test_an_external_store_is_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://elsewhere/")
    monkeypatch.setenv("ELASTICSEARCH_URL", "")

    assert enabled_sinks(settings()) == ("mongodb",)


def test_the_worst_task_is_the_connectors_state() -> None:
    running, failed = {"state": "RUNNING"}, {"state": "FAILED"}

    assert sinks._state({"connector": running, "tasks": [running, failed]}) == "FAILED"
    assert sinks._state({"connector": {"state": "PAUSED"}, "tasks": []}) == "PAUSED"
    assert sinks._state({"connector": running, "tasks": [running]}) == "RUNNING"


def test_a_login_in_the_address_serves_every_role() -> None:
    own = settings(elasticsearch_writer_password="pw")
    given = settings(elasticsearch_url="https://user:p%40ss@search.example.org/")

    assert own.elasticsearch_login("writer") == ("http://127.0.0.1:21003", "tickhouse_writer", "pw")
    assert given.elasticsearch_login("reader") == ("https://search.example.org", "user", "p@ss")
    with pytest.raises(ConfigurationError, match="was 'nobody'"):
        own.elasticsearch_login("nobody")


def test_contact_points_share_one_port() -> None:
    assert settings().cassandra_nodes() == (["127.0.0.1"], 21005)
    assert settings(cassandra_contact_points="a:9142, b:9142").cassandra_nodes() == (["a", "b"], 9142)
    assert settings(cassandra_contact_points="a").cassandra_nodes() == (["a"], 9042)


def test_a_hashed_password_is_what_the_file_realm_reads() -> None:
    import base64
    import hashlib

    from stack.elasticsearch.realm import hashed

    head, salt, key = hashed("pw").split("$")
    assert head == "{PBKDF2}1000"
    wanted = hashlib.pbkdf2_hmac("sha512", b"pw", base64.b64decode(salt), 1000, dklen=32)
    assert base64.b64decode(key) == wanted
    assert hashed("pw") != hashed("pw")
