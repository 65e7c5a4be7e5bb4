"""Bring services up in dependency order and take them down in reverse.

`up` is idempotent: what runs with the same definition is left alone, what is half started is finished, and what
outlived a killed supervisord is ended first.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.engine import graph as graphs
from stack.engine import leftovers, supervise
from stack.engine.context import ServiceContext, call, inherited, logs_dir
from stack.engine.fetch import fetch
from stack.engine.model import Service, read_catalog
from stack.engine.portmap import holder
from stack.engine.privileges import unprivileged_prefix
from stack.engine.probe import external_address, external_answers, is_ready, tcp_answers
from stack.engine.report import Phase, Reporter, silent
from stack.engine.secrets import ensure_secrets
from tickhouse.errors import ConfigurationError, ServiceNotReady, TickhouseError
from tickhouse.settings import REPO, Settings, home, load_settings, ports, secrets_file

STACK = REPO / "stack"

# Written into every home that `up` made: `down --purge` removes no folder without it.
HOME_MARK = ".tickhouse-home"

PROBE_EVERY_S = 0.25


@dataclass(frozen=True)
class Started:
    """What became of one service in `up`: its state (ready, external) and the seconds it took."""

    service: str
    state: Phase
    seconds: float


def catalog() -> dict[str, Service]:
    """Return every service of the repository, by name."""
    return read_catalog(STACK)


def up(
    profile: str = "core",
    services: list[str] | None = None,
    *,
    report: Reporter = silent,
    known: Mapping[str, Service] | None = None,
) -> list[Started]:
    """Start a profile, or the named services, with everything they depend on; return what was done.

    Args:
        profile: Profile name; not looked at when `services` is given.
        services: Service names.
        report: Told of every change of phase.
        known: Service definitions, by default those of the repository.

    Raises:
        ConfigurationError: A profile, service or setting is wrong.
        PrerequisiteMissing: Something must be installed first.
        ServiceNotReady: A service failed; the message holds the end of its log. Run `up` again after mending.
    """
    known = known if known is not None else catalog()
    wanted = services if services is not None else graphs.in_profile(known, profile)
    graphs.closure(known, wanted)  # a wrong name is refused before anything is made
    with _locked_home():
        ensure_secrets(secrets_file())
        settings = load_settings()
        graph = graphs.closure(known, wanted, settings)
        if supervise.supervisor_pid() is None:
            leftovers.end(leftovers.orphans())
        if any(not _is_external(known[name], settings) for name in graph):
            supervise.ensure_supervisor()
        done: dict[str, Started] = {}

        def bring_up(name: str, cancelled: threading.Event) -> None:
            done[name] = _bring_up(known[name], settings, cancelled, report)

        graphs.run_in_order(graph, bring_up)
    return [done[name] for name in graphs.start_order(graph)]


def down(*, purge: bool = False, report: Reporter = silent, known: Mapping[str, Service] | None = None) -> None:
    """Stop everything of this home, dependants first, and supervisord itself.

    Args:
        purge: Remove the home as well: data, logs, secrets.
        report: Told of every change of phase.
        known: Service definitions, by default those of the repository.

    Raises:
        ConfigurationError: `purge` on a folder that `up` did not make.
    """
    if not home().exists():
        return
    if purge and not (home() / HOME_MARK).exists() and any(home().iterdir()):
        raise ConfigurationError(f"{home()} was not made by tickhouse up.", safe="Nothing was removed.")
    known = known if known is not None else catalog()
    with _locked_home():
        everything = leftovers.tree(supervise.supervisor_pid() or 0)[1:]
        if supervise.states():
            graphs.run_in_order(graphs.stop_graph(known), functools.partial(_take_down, known, report))
        supervise.stop_supervisor()
        leftovers.end([*(process for process in everything if process.is_running()), *leftovers.orphans()])
        for path in supervise.run_dir().glob("*.pid"):
            path.unlink()
        if purge:
            shutil.rmtree(home())
            supervise.remove_socket()


def context_of(service: Service, settings: Settings | None = None) -> ServiceContext:
    """Return the context of a service for probing: nothing is fetched or prepared."""
    return ServiceContext(service, settings or load_settings())


def _take_down(known: Mapping[str, Service], report: Reporter, name: str, _cancelled: threading.Event) -> None:
    states = supervise.states()
    alive = [program for program in known[name].all_programs() if program in states and states[program].is_alive]
    if alive:
        report(name, "stopping")
        supervise.stop(known[name].stop.first)
        supervise.stop(alive)
        report(name, "stopped")


def _is_external(service: Service, settings: Settings) -> bool:
    return service.external_setting is not None and settings.is_external(service.external_setting)


def _bring_up(service: Service, settings: Settings, cancelled: threading.Event, report: Reporter) -> Started:
    began = time.monotonic()
    try:
        external = _is_external(service, settings)
        context = ServiceContext(service, settings) if external else _start(service, settings, cancelled, report)
        if external:
            _require_external(context)
        report(service.name, "provisioning")
        _run_steps(context.service.setup.provision, context)
    except TickhouseError as error:
        report(service.name, "failed", error.message.splitlines()[0])
        raise
    phase: Phase = "external" if external else "ready"
    seconds = time.monotonic() - began
    report(service.name, phase, f"{seconds:.1f} s")
    return Started(service.name, phase, round(seconds, 1))


def _require_external(context: ServiceContext) -> None:
    if not external_answers(context):
        name = (context.service.external_setting or "").upper()
        raise ServiceNotReady(
            f"{context.service.title} at {external_address(context)} (given by {name}) does not answer.",
            safe="It is not ours, so it was not touched.",
            next_command=f"start it, or unset {name} to have a local one",
        )


def _start(service: Service, settings: Settings, cancelled: threading.Event, report: Reporter) -> ServiceContext:
    report(service.name, "fetching")
    fetched = fetch(service, lambda line: report(service.name, "fetching", line))
    context = ServiceContext(service, settings, fetched)
    if service.is_unprivileged:
        binary = Path(context.render((service.command or ("",))[0]))
        context = ServiceContext(service, settings, fetched, unprivileged_prefix(binary, context.data))
    report(service.name, "preparing")
    changed = _changed_programs(context, _render_files(context))
    if changed:
        _replace(context, changed)
    report(service.name, "starting")
    _await_ready(context, cancelled)
    _run_steps(service.setup.after_ready, context)
    return context


def _replace(context: ServiceContext, changed: list[tuple[supervise.ProgramSpec, str]]) -> None:
    supervise.stop([spec.name for spec, _ in changed])
    if len(changed) == len(context.service.all_programs()):
        _require_free_ports(context)
    _run_steps(context.service.setup.before_start, context)
    for spec, definition in changed:
        supervise.install(spec)
        _definition_file(spec.name).write_text(definition)
        supervise.start(spec.name)


def _require_free_ports(context: ServiceContext) -> None:
    """Refuse to start on a taken port: the stranger there could pass our probe.

    Raises:
        ServiceNotReady: A port is taken; the message says by whom, where that can be seen.
    """
    for name in context.service.ports:
        if tcp_answers(f"127.0.0.1:{ports()[name]}"):
            raise ServiceNotReady(
                f"{context.service.title} cannot start: port {ports()[name]} is taken by {holder(ports()[name])}.",
                safe="That process was not touched.",
                next_command="stop it, or move all ports: TICKHOUSE_PORT_BASE=31000 tickhouse up",
            )


def _render_files(context: ServiceContext) -> bytes:
    rendered = b""
    for folder in (context.conf, context.data):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in context.service.files:
        text = context.render((STACK / context.service.name / file.template).read_text())
        target = Path(context.render(file.target))
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.touch(mode=0o600)
        target.write_text(text)
        rendered += text.encode()
    return rendered


def _specs(context: ServiceContext, files: bytes) -> list[tuple[supervise.ProgramSpec, str]]:
    stop = context.service.stop
    specs = [
        supervise.ProgramSpec(
            name=name,
            argv=context.argv(program.command),
            env=context.env(program.env),
            cwd=str(context.data),
            stop_signal=stop.signal,
            stop_wait_s=stop.wait_s,
            start_retries=context.service.start_retries,
        )
        for name, program in context.service.all_programs().items()
    ]
    return [(spec, spec.fingerprint(inherited(), files)) for spec in specs]


def _changed_programs(context: ServiceContext, files: bytes) -> list[tuple[supervise.ProgramSpec, str]]:
    """Return the programs (with a hash of their definition) that do not run, or run with another definition."""
    return [
        (spec, definition)
        for spec, definition in _specs(context, files)
        if not supervise.state(spec.name).is_alive or _recorded_definition(spec.name) != definition
    ]


def _definition_file(program: str) -> Path:
    return supervise.run_dir() / f"{program}.definition"


def _recorded_definition(program: str) -> str:
    path = _definition_file(program)
    return path.read_text() if path.exists() else ""


def _run_steps(steps: tuple[str, ...], context: ServiceContext) -> None:
    for step in steps:
        call(step, context)


def _await_ready(context: ServiceContext, cancelled: threading.Event) -> None:
    """Poll until every program runs and the probe succeeds.

    Raises:
        ServiceNotReady: A program gave up, keeps restarting, or the time is over.
    """
    programs = list(context.service.all_programs())
    starts: dict[str, set[int]] = {name: set() for name in programs}
    deadline = time.monotonic() + context.service.ready.timeout_s
    while not cancelled.is_set():
        states = supervise.states()
        for name in programs:
            _refuse_failure(context, states.get(name), starts[name])
        if all(states[name].state in ("STARTING", "RUNNING") for name in programs) and is_ready(context):
            return
        if time.monotonic() > deadline:
            raise _failure(context, programs[0], f"did not answer within {context.service.ready.timeout_s:.0f} s")
        cancelled.wait(PROBE_EVERY_S)
    raise ServiceNotReady(f"{context.service.title} was still starting when another service failed.")


def _refuse_failure(context: ServiceContext, state: supervise.ProgramState | None, starts: set[int]) -> None:
    if state is None:
        raise ServiceNotReady("The supervisor went away while services started.", next_command="tickhouse up")
    if state.pid:
        starts.add(state.started_at)
    if state.state == "FATAL":
        raise _failure(context, state.name, "ended while starting")
    if len(starts) > context.service.start_retries + 1:
        supervise.stop([state.name])
        raise _failure(context, state.name, f"ended {len(starts)} times while starting")


def _failure(context: ServiceContext, program: str, what: str) -> ServiceNotReady:
    end_of_log = supervise.tail(supervise.log_file(program))
    return ServiceNotReady(
        f"{context.service.title} {what}. The end of {supervise.log_file(program)}:\n{end_of_log}\n",
        safe="Other services keep running; data is untouched.",
        next_command=f"mend the cause, then tickhouse up (whole log: tickhouse logs {program})",
    )


def _make(folder: Path, mode: int) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(mode)  # whatever the umask


@contextmanager
def _locked_home() -> Iterator[None]:
    """Make the home and hold its lock, so that two `up` or `down` never mix."""
    # Others may pass through, but not look: PostgreSQL may have to run as `nobody` and has its folder in here.
    _make(home(), 0o711)
    _make(home() / "data", 0o711)
    (home() / HOME_MARK).touch()
    for folder in (logs_dir(), supervise.run_dir(), home() / "conf"):
        _make(folder, 0o700)
    lock = supervise.run_dir() / "lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        is_same_file = lock.exists() and lock.stat().st_ino == os.fstat(file.fileno()).st_ino
        if is_same_file:
            yield
    if not is_same_file:  # purged while we waited: lock the home that is made anew
        with _locked_home():
            yield
