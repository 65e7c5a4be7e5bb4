"""The state of a job follows from its program and its metrics, and doctor says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigurationError
from common.live_job import LiveJob, LiveRequest, SymbolSelection, write_job
from stack.engine.lifecycle import up
from stack.engine.supervisor import ProgramState
from tickhouse.live import jobs, status
from tickhouse.live.status import job_status, section_of, state_of, wanted_or_running
from tickhouse.status import doctor

CONNECTED = {"connections": 2, "is_websocket_blocked": False}


def program(state: str, pid: int = 7) -> ProgramState:
    return ProgramState("live_spot", state, pid, 1, "exited too quickly" if state == "BACKOFF" else "")


@pytest.mark.parametrize(
    ("state", "section", "is_polling", "expected"),
    [
        ("RUNNING", CONNECTED, False, "running"),
        ("RUNNING", {"connections": 0}, False, "connecting"),
        ("RUNNING", {"connections": 0}, True, "polling"),
        ("RUNNING", {}, False, "starting"),
        ("STARTING", {}, False, "starting"),
        ("BACKOFF", {}, False, "restarting"),
        ("FATAL", {}, False, "failed"),
        ("EXITED", {}, False, "failed"),
        ("STOPPED", {}, False, "stopped"),
        ("ABSENT", {}, False, "stopped"),
    ],
)
def test_states(state: str, section: dict[str, Any], is_polling: bool, expected: str) -> None:
    assert state_of(program(state), section, is_polling=is_polling) == expected


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a job of spot, and return its home; supervisord knows nothing."""
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    set_program(monkeypatch, program("ABSENT", 0))
    request = LiveRequest(market="spot", selection=SymbolSelection(quote="USDT"), ws_url="ws://h", rest_url="http://h")
    return write_job(tmp_path, LiveJob(request=request, chosen_at="now")).parent.parent


def set_program(monkeypatch: pytest.MonkeyPatch, found: ProgramState, samples: list[Any] | None = None) -> None:
    known = {} if found.state == "ABSENT" else {found.name: found}
    for module in (jobs, status):
        monkeypatch.setattr(module.supervisor, "states", lambda: known)
        monkeypatch.setattr(module.supervisor, "state", lambda name: known.get(name, program("ABSENT", 0)))
    monkeypatch.setattr(status, "samples", lambda *_: samples)


def test_a_job_that_the_stack_took_down_is_stopped_and_comes_back(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = job_status(job, "spot")
    assert (found.state, found.is_wanted, found.pid, found.selection) == ("stopped", True, 0, "all of USDT")
    assert found.note == "the next tickhouse up of the core starts it"
    assert wanted_or_running(job) == ["spot"]
    assert section_of(job, "spot") == {
        **{"state": "stopped", "symbols": 0, "streams": "aggTrade, ticker"},
        "note": "the next tickhouse up of the core starts it",
    }
    monkeypatch.setattr(doctor.supervisor, "supervisor_pid", lambda: None)
    assert [finding.level for finding in doctor._live()] == ["ok"]
    monkeypatch.setattr(doctor.supervisor, "supervisor_pid", lambda: 1)
    assert [(finding.level, finding.mend) for finding in doctor._live()] == [
        ("error", "tickhouse logs live_spot; tickhouse up")
    ]


def test_a_program_that_dies_again_and_again_is_an_error_with_its_reason(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_program(monkeypatch, program("BACKOFF", 0))

    assert job_status(job, "spot").note == "exited too quickly; tickhouse logs live_spot"
    (finding,) = doctor._live()
    assert (finding.level, finding.check) == ("error", "live job of spot")
    assert finding.seen.startswith("restarting, 0 symbols; exited too quickly")


def test_a_program_without_a_job_is_told(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_program(monkeypatch, program("RUNNING"), [])
    (job / "live" / "spot.json").unlink()

    assert "tickhouse live stop ends it" in job_status(job, "spot").note
    (finding,) = doctor._live()
    assert (finding.level, finding.mend) == ("warning", "tickhouse live stop --market spot")


def test_a_service_without_its_job_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path / "home"))

    with pytest.raises(ConfigurationError, match=r"no live job of market spot: .*live/spot\.json") as refused:
        up(services=["live_spot"])
    assert refused.value.next_command == "tickhouse live start"
    assert not (tmp_path / "home").exists()
