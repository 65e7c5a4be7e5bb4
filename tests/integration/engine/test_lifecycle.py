"""The engine with fake services of a few lines of Python, under the real supervisord."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ServiceNotReady
from common.settings import ports
from stack.engine import service_start, supervisor
from stack.engine.context import MARKER, ServiceContext
from stack.engine.lifecycle import down, up
from stack.engine.model import ProgramDefinition, Ready, Service, Setup, Stop
from stack.engine.orphans import orphans
from stack.engine.processes import end_processes, has_ended, process_tree
from stack.engine.service_status import status
from tests.eventually import eventually
from tests.homes import own_home

LISTEN = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
# When it gets SIGTERM, it writes whether a port still accepts connections (0).
PORT_CHECK = """
import pathlib, signal, socket, sys
def end(*_):
    with socket.socket() as client:
        pathlib.Path(sys.argv[2]).write_text(str(client.connect_ex(("127.0.0.1", int(sys.argv[1])))))
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
signal.pause()
"""
DIE = "print('the reason is here', flush=True); raise SystemExit(3)"

pytestmark = pytest.mark.integration


def fake(name: str, port: str, code: str = LISTEN, *needs: str, **fields: object) -> Service:
    return Service(
        name=name,
        title=f"fake {name}",
        profiles=("core",),
        depends_on=needs,
        command=(sys.executable, "-u", "-c", code, f"{{{{ port.{port} }}}}"),
        ports=(port,),
        ready=Ready(tcp=f"127.0.0.1:{{{{ port.{port} }}}}", timeout_s=20),
        stop=Stop(wait_s=5),
        start_retries=0,
        memory_mb=10,
        **fields,  # type: ignore[arg-type]
    )


def catalog_of(*services: Service) -> dict[str, Service]:
    return {service.name: service for service in services}


@pytest.fixture
def home() -> Iterator[Path]:
    with own_home() as made:
        yield made


def pid_of(name: str) -> int:
    return supervisor.state(name).pid


def test_up_starts_missing_services_and_leaves_running_ones(home: Path) -> None:
    known = catalog_of(fake("first", "redis"), fake("second", "kafka", LISTEN, "first"))
    seen: list[tuple[str, str]] = []

    started = up(
        services=["second"], known=known, report=lambda service, phase, _detail="": seen.append((service, phase))
    )
    assert [(one.service, one.state) for one in started] == [("first", "ready"), ("second", "ready")]
    assert seen.index(("first", "ready")) < seen.index(("second", "starting"))
    pids = pid_of("first"), pid_of("second")

    up(services=["second"], known=known)
    assert (pid_of("first"), pid_of("second")) == pids
    assert {one.name: one.health for one in status(known)} == {"first": "ready", "second": "ready"}
    assert (home / "secrets.env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "change",
    [{"env": {"COLOUR": "blue"}}, {"command": (sys.executable, "-u", "-c", LISTEN, "{{ port.kafka }}", "blue")}],
)
def test_a_changed_definition_restarts_only_that_service(home: Path, change: dict[str, object]) -> None:
    first, second = fake("first", "redis"), fake("second", "kafka")
    up(services=["first", "second"], known=catalog_of(first, second))
    pids = pid_of("first"), pid_of("second")

    up(services=["first", "second"], known=catalog_of(first, second.model_copy(update=change)))

    assert pid_of("first") == pids[0]
    assert pid_of("second") != pids[1]


def test_a_service_that_dies_is_shown_with_the_end_of_its_log(home: Path) -> None:
    known = catalog_of(fake("dying", "redis", DIE), fake("after", "kafka", LISTEN, "dying"))

    with pytest.raises(ServiceNotReady) as caught:
        up(services=["after"], known=known)

    assert "fake dying ended while starting" in caught.value.message
    assert "the reason is here" in caught.value.message
    assert "tickhouse logs dying" in caught.value.next_command
    assert supervisor.state("after").state == "ABSENT"


def test_up_after_a_repair_continues_from_there(home: Path) -> None:
    good, bad = fake("good", "redis"), fake("bad", "kafka", DIE, "good")
    with pytest.raises(ServiceNotReady):
        up(services=["bad"], known=catalog_of(good, bad))
    pid = pid_of("good")

    up(services=["bad"], known=catalog_of(good, fake("bad", "kafka", LISTEN, "good")))

    assert pid_of("good") == pid
    assert supervisor.state("bad").state in ("STARTING", "RUNNING")


def test_a_service_that_never_responds_is_an_error(home: Path) -> None:
    silent = fake("silent", "redis", "import time; print('busy', flush=True); time.sleep(60)")
    silent = silent.model_copy(update={"ready": silent.ready.model_copy(update={"timeout_s": 1.0})})

    with pytest.raises(ServiceNotReady, match=r"did not answer within 1 s(.|\n)*busy"):
        up(services=["silent"], known=catalog_of(silent))


def test_a_crashed_service_comes_back(home: Path) -> None:
    known = catalog_of(fake("first", "redis"))
    up(services=["first"], known=known)
    # RUNNING means startsecs are over. An earlier end would be a failed start, and this fake has no
    # retries.
    eventually(lambda: supervisor.state("first").state == "RUNNING")
    pid = pid_of("first")

    os.kill(pid, signal.SIGKILL)

    eventually(lambda: pid_of("first") not in (0, pid))


def test_another_process_on_the_port_is_named_and_not_touched(home: Path) -> None:
    port = ports()["redis"]
    command = [sys.executable, "-c", LISTEN, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        try:
            with pytest.raises(ServiceNotReady, match=rf"port {port} is taken by pid {stranger.pid}"):
                up(services=["first"], known=catalog_of(fake("first", "redis")))
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_up_recovers_when_supervisord_was_killed(home: Path) -> None:
    known = catalog_of(fake("first", "redis"))
    up(services=["first"], known=known)
    orphan, supervisord = pid_of("first"), supervisor.supervisor_pid()
    assert supervisord is not None
    os.kill(supervisord, signal.SIGKILL)
    eventually(lambda: has_ended(supervisord))
    assert [process.pid for process in orphans()] == [orphan]

    up(services=["first"], known=known)

    assert pid_of("first") not in (0, orphan)
    assert has_ended(orphan)


def test_purge_leaves_no_process_no_port_and_no_file(home: Path) -> None:
    escaped = "import subprocess, sys; subprocess.Popen(['sleep', '600'], start_new_session=True)\n" + LISTEN
    known = catalog_of(fake("first", "redis", escaped))
    up(services=["first"], known=known)
    everything = [one.pid for one in process_tree(supervisor.supervisor_pid() or 0)]
    assert len(everything) == 3  # supervisord, the service, and the sleep in its own session

    down(purge=True, known=known)

    assert not [pid for pid in everything if not has_ended(pid)]
    assert not home.exists()
    assert not supervisor.socket_path().exists()


def test_a_home_too_deep_for_a_socket_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    known = catalog_of(fake("first", "redis"))
    with own_home("deep folder/" * 12) as home:
        up(services=["first"], known=known)
        socket = supervisor.socket_path()
        assert socket.is_socket()
        assert not socket.is_relative_to(home)

        down(purge=True, known=known)

        assert not socket.exists()


def test_down_keeps_data_and_up_continues_with_it(home: Path) -> None:
    known = catalog_of(fake("first", "redis"))
    up(services=["first"], known=known)
    (home / "data" / "first" / "kept").touch()
    secrets = (home / "secrets.env").read_bytes()

    down(known=known)
    assert supervisor.supervisor_pid() is None
    up(services=["first"], known=known)

    assert (home / "data" / "first" / "kept").exists()
    assert (home / "secrets.env").read_bytes() == secrets


def test_an_external_service_is_probed_and_provisioned_but_not_started(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = catalog_of(
        fake("first", "redis"),
        fake(
            "second",
            "kafka",
            DIE,
            external_setting="connect_url",
            setup=Setup(provision=(f"{__name__}:note_provision",)),
        ),
    )
    up(services=["first"], known=known)
    monkeypatch.setenv("CONNECT_URL", f"http://127.0.0.1:{ports()['redis']}/")
    provisioned.clear()

    (started,) = up(services=["second"], known=known)

    assert started.state == "external"
    assert provisioned == ["second"]
    assert supervisor.state("second").state == "ABSENT"
    monkeypatch.setenv("CONNECT_URL", f"http://127.0.0.1:{ports()['kafka']}/")
    with pytest.raises(ServiceNotReady, match="given by CONNECT_URL"):
        up(services=["second"], known=known)


provisioned: list[str] = []


def note_provision(context: object) -> None:
    provisioned.append(context.service.name)  # type: ignore[attr-defined]


def test_only_processes_of_this_home_are_orphans(home: Path) -> None:
    ours = {**os.environ, MARKER: str(home)}
    other = {**os.environ, MARKER: f"{home}-other"}
    with (
        subprocess.Popen(["sleep", "600"], env=ours) as mine,
        subprocess.Popen(["sleep", "600"], env=other) as theirs,
    ):
        found = [process.pid for process in orphans()]
        end_processes(orphans())
        is_theirs_alive = theirs.poll() is None
        theirs.kill()
    assert found == [mine.pid]
    assert mine.returncode is not None
    assert is_theirs_alive


def test_a_program_that_needs_the_others_stops_before_them(home: Path, tmp_path: Path) -> None:
    note, server = tmp_path / "note", fake("server", "redis")
    talker = ProgramDefinition(command=(sys.executable, "-c", PORT_CHECK, "{{ port.redis }}", str(note)))
    programs = {"a-server": ProgramDefinition(command=server.command or ()), "z-talker": talker}
    both = server.model_copy(
        update={"command": None, "programs": programs, "stop": Stop(wait_s=5, first=("z-talker",))}
    )
    up(services=["server"], known={"server": both})
    down(known={"server": both})

    assert note.read_text() == "0"


# Responds with 200 until the file in argv[2] exists, then with 500. A start removes the file.
BREAKABLE = """
import http.server, pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
broken = pathlib.Path(sys.argv[2]); broken.unlink(missing_ok=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if broken.exists() else 200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def breakable(mark: Path, **fields: object) -> Service:
    service = fake("breakable", "redis", BREAKABLE, **fields)
    program = (*(service.command or ()), str(mark))
    ready = Ready(http="http://127.0.0.1:{{ port.redis }}/", timeout_s=5)
    return service.model_copy(update={"command": program, "ready": ready})


def test_a_service_that_runs_but_does_not_respond_is_started_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_start, "UNRESPONSIVE_S", 1.0)
    known = catalog_of(breakable(tmp_path / "broken"))
    up(services=["breakable"], known=known)
    pid = pid_of("breakable")

    (tmp_path / "broken").touch()
    assert {one.health for one in status(known)} == {"not ready"}
    up(services=["breakable"], known=known)

    assert pid_of("breakable") != pid
    assert {one.health for one in status(known)} == {"ready"}


def provision_breakable(context: ServiceContext) -> None:
    """Fail while the mark exists; the service removes it when it starts."""
    if (context.home / "broken").exists():
        raise ServiceNotReady("The server answered 500.")


def test_a_service_that_fails_its_provisioning_is_started_again(home: Path) -> None:
    steps = Setup(provision=(f"{__name__}:provision_breakable",))
    service = breakable(home / "broken", setup=steps).model_copy(
        update={"ready": Ready(tcp="127.0.0.1:{{ port.redis }}")}
    )
    known = catalog_of(service)
    up(services=["breakable"], known=known)
    pid = pid_of("breakable")

    (home / "broken").touch()
    up(services=["breakable"], known=known)

    assert pid_of("breakable") != pid
