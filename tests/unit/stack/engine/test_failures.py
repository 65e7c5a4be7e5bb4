from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.errors import ConfigurationError, ServiceNotReady
from stack.engine import supervisor
from stack.engine.lifecycle import down, up
from stack.engine.model import Ready, Service
from tests.homes import own_home


def test_a_service_that_dies_is_shown_with_the_end_of_its_log() -> None:
    dying = Service(
        name="dying",
        title="the dying one",
        profiles=("core",),
        command=(sys.executable, "-c", "print('the reason is here', flush=True); raise SystemExit(3)"),
        ready=Ready(tcp="127.0.0.1:{{ port.redis }}", timeout_s=120),
        start_retries=0,
        memory_mb=1,
    )
    with own_home(), pytest.raises(ServiceNotReady) as caught:
        up(services=["dying"], known={"dying": dying})

    assert "the dying one ended while starting" in caught.value.message
    assert "the reason is here" in caught.value.message
    assert "tickhouse logs dying" in caught.value.next_command


def test_purge_refuses_a_folder_that_up_did_not_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))

    with pytest.raises(ConfigurationError, match="was not made by tickhouse"):
        down(purge=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_long_home_gets_a_short_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", "/short")
    assert supervisor.socket_path() == Path("/short/run/supervisor.sock")

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TICKHOUSE_HOME", "/" + "long" * 40)
    first = supervisor.socket_path()
    monkeypatch.setenv("TICKHOUSE_HOME", "/" + "long" * 41)

    assert first.parent == tmp_path
    assert supervisor.socket_path() != first
