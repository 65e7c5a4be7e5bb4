"""Control the supervisord of one home: start it, add programs, read their state, stop it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import json
import math
import os
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from common.errors import ConfigurationError, ServiceNotReady
from common.settings import REPO, home
from stack.engine.context import logs_dir
from stack.engine.processes import has_ended

# A socket address (`sun_path`) holds 108 bytes with its NUL. supervisord first binds a temporary
# name in the same folder, which is longer by ".<pid>".
SOCKET_PATH_LIMIT = 95
SUPERVISOR_START_S = 20.0
SUPERVISOR_STOP_S = 30.0

# Fault codes of supervisord: unknown program, program already added, program already started,
# program not running.
BAD_NAME, ALREADY_ADDED, ALREADY_STARTED, NOT_RUNNING = 10, 90, 60, 70

ALIVE = ("STARTING", "RUNNING", "BACKOFF", "STOPPING")

# Threads of this process add and start one program at a time. supervisord itself answers one call
# at a time.
_change_lock = threading.Lock()


@dataclass(frozen=True)
class ProgramSpec:
    """One program, as supervisord and `launch.py` need it."""

    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    stop_signal: str
    stop_wait_s: int
    start_retries: int

    def fingerprint(self, inherited: dict[str, str], extra: bytes = b"") -> str:
        """Return a hash of the definition without inherited variables.

        A different hash means that the service was changed.
        """
        declared = {name: value for name, value in self.env.items() if name not in inherited}
        text = json.dumps([self.argv, sorted(declared.items()), self.stop_signal], default=str)
        return hashlib.sha256(text.encode() + extra).hexdigest()


@dataclass(frozen=True)
class ProgramState:
    """The state of a program in supervisord's words; ABSENT for a program it does not know."""

    name: str
    state: str
    pid: int
    started_at: int
    detail: str

    @property
    def is_alive(self) -> bool:
        """Return whether the program runs, starts or stops."""
        return self.state in ALIVE


def run_dir() -> Path:
    """Return the folder of the socket, the process ids and the launch files."""
    return home() / "run"


def socket_path() -> Path:
    """Return the path of supervisord's socket: outside the home when the path would be too long."""
    inside = run_dir() / "supervisor.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
        return inside
    key = hashlib.sha256(os.fsencode(home())).hexdigest()[:16]
    # _make_socket_folder checks its owner and mode, because every user may write to /tmp.
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/tickhouse-{os.getuid()}")  # noqa: S108
    return runtime / f"tickhouse-{key}.sock"


def supervisor_pid() -> int | None:
    """Return the process id of this home's supervisord; None when it does not respond."""
    try:
        with rpc() as supervisor:
            return int(supervisor.getPID())
    except ServiceNotReady:
        return None


@contextmanager
def rpc() -> Iterator[Any]:
    """Open supervisord's XML-RPC interface.

    Raises:
        ServiceNotReady: supervisord does not respond.
    """
    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(None, None, f"unix://{socket_path()}")
    proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
    try:
        yield proxy.supervisor
    except (OSError, http.client.HTTPException) as error:
        raise ServiceNotReady(f"supervisord does not respond: {error}.", next_command="tickhouse up") from error
    finally:
        transport.close()


def ensure_supervisor() -> None:
    """Start supervisord as a daemon unless it already runs.

    Raises:
        ServiceNotReady: It did not respond in time; the message holds the end of its log.
    """
    if supervisor_pid() is not None:
        return
    programs_dir().mkdir(parents=True, exist_ok=True)
    _make_socket_folder()
    for stale in programs_dir().glob("*.conf"):  # left by a supervisord that was killed
        stale.unlink()
    conf = run_dir() / "supervisord.conf"
    conf.write_text(_supervisor_conf())
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(conf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=run_dir(), start_new_session=True)
    if done.returncode != 0 or not _wait_until(lambda: supervisor_pid() is not None, SUPERVISOR_START_S):
        raise ServiceNotReady(
            f"supervisord did not start: {done.stderr or done.stdout}{tail(logs_dir() / 'supervisord.log')}",
            next_command="tickhouse doctor",
        )


def stop_supervisor() -> None:
    """Stop supervisord and all its programs; do nothing when it does not run."""
    pid = supervisor_pid()
    if pid is None:
        return
    with rpc() as supervisor:
        supervisor.shutdown()
    if not _wait_until(lambda: has_ended(pid), SUPERVISOR_STOP_S):
        psutil.Process(pid).kill()
    remove_socket()


def remove_socket() -> None:
    """Remove the socket, and its folder outside the home when no other home uses it."""
    socket_path().unlink(missing_ok=True)
    if socket_path().parent.name == f"tickhouse-{os.getuid()}":
        with contextlib.suppress(OSError):
            socket_path().parent.rmdir()


def _make_socket_folder() -> None:
    folder = socket_path().parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022:
        raise ConfigurationError(
            f"Other users may write to {folder}.", next_command="set XDG_RUNTIME_DIR to a folder of your own"
        )
    socket_path().unlink(missing_ok=True)


def programs_dir() -> Path:
    """Return the folder with one supervisord section per program."""
    return run_dir() / "programs"


def install(spec: ProgramSpec) -> None:
    """Write a program's launch file and section and add it to supervisord.

    The program must not run.
    """
    launch = run_dir() / f"{spec.name}.json"
    launch.touch(mode=0o600)
    launch.write_text(json.dumps(asdict(spec) | {"pid_file": str(pid_file(spec.name))}))
    section = programs_dir() / f"{spec.name}.conf"
    section.write_text(_program_conf(spec, launch))
    with _change_lock, rpc() as supervisor:
        supervisor.reloadConfig()
        _ignore_faults(lambda: supervisor.removeProcessGroup(spec.name), BAD_NAME)
        _ignore_faults(lambda: supervisor.addProcessGroup(spec.name), ALREADY_ADDED)


def uninstall(name: str) -> None:
    """Remove a program that does not run from supervisord, which then no longer knows it."""
    (programs_dir() / f"{name}.conf").unlink(missing_ok=True)
    with _change_lock, rpc() as supervisor:
        supervisor.reloadConfig()
        _ignore_faults(lambda: supervisor.removeProcessGroup(name), BAD_NAME)


def start(name: str) -> None:
    """Start an installed program without waiting for it."""
    with _change_lock, rpc() as supervisor:
        _ignore_faults(lambda: supervisor.startProcess(name, False), ALREADY_STARTED)


def stop(names: Collection[str]) -> None:
    """Stop programs at the same time and wait until all have ended.

    Ignore those that do not run.
    """
    for name in names:
        with rpc() as supervisor:
            _ignore_faults(functools.partial(supervisor.stopProcess, name, False), NOT_RUNNING, BAD_NAME)
    # No time limit is needed: supervisord kills what does not end within its stopwaitsecs.
    _wait_until(lambda: not any(state.is_alive for name, state in states().items() if name in names), math.inf)


def state(name: str) -> ProgramState:
    """Return the state of one program."""
    return states().get(name, ProgramState(name, "ABSENT", 0, 0, ""))


def states() -> dict[str, ProgramState]:
    """Return the state of every program that supervisord knows.

    Empty when supervisord does not run.
    """
    try:
        with rpc() as supervisor:
            programs = supervisor.getAllProcessInfo()
    except ServiceNotReady:
        return {}
    return {
        info["name"]: ProgramState(info["name"], info["statename"], info["pid"], info["start"], info["spawnerr"])
        for info in programs
    }


def log_file(program: str) -> Path:
    """Return the log file of one program: standard output and standard error."""
    return logs_dir() / f"{program}.log"


def pid_file(program: str) -> Path:
    """Return the file where `launch.py` records the program's process id."""
    return run_dir() / f"{program}.pid"


def tail(path: Path, lines: int = 30) -> str:
    """Return the last lines of a log; empty when there is no such file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 64 * 1024))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def _ignore_faults(step: Callable[[], object], *faults: int) -> None:
    try:
        step()
    except xmlrpc.client.Fault as fault:
        if fault.faultCode not in faults:
            raise ServiceNotReady(f"supervisord refused the call: {fault.faultString}.") from fault


def _wait_until(probe: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not probe():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _supervisor_conf() -> str:
    user = "user=root\n" if os.geteuid() == 0 else ""  # without it supervisord warns about running as root
    return f"""[supervisord]
logfile={_escape(logs_dir() / "supervisord.log")}
pidfile={_escape(run_dir() / "supervisord.pid")}
childlogdir={_escape(logs_dir())}
logfile_maxbytes=5MB
logfile_backups=1
umask=077
{user}
[unix_http_server]
file={_escape(socket_path())}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=programs/*.conf
"""


def _program_conf(spec: ProgramSpec, launch: Path) -> str:
    # A program that ends within startsecs counts as a failed start; after start_retries more failed
    # starts its state is FATAL.
    return f"""[program:{spec.name}]
command="{_escape(sys.executable)}" -I -S "{_escape(REPO / "stack" / "engine" / "launch.py")}" "{_escape(launch)}"
autostart=false
autorestart=true
startsecs=3
startretries={spec.start_retries}
stopsignal={spec.stop_signal}
stopwaitsecs={spec.stop_wait_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={_escape(log_file(spec.name))}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""


def _escape(path: object) -> str:
    return str(path).replace("%", "%%")
