"""Start one service: fetch, prepare, start, wait until it is ready, provision."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from common.errors import ServiceNotReady, TickhouseError, TransientError
from common.settings import Settings, ports
from stack.engine import supervisor
from stack.engine.context import ServiceContext, call_hook, inherited_environment
from stack.engine.fetch import fetch
from stack.engine.model import STACK, Service
from stack.engine.port_owners import port_owner
from stack.engine.privileges import unprivileged_prefix
from stack.engine.probe import accepts_connections, external_address, external_is_reachable, is_ready
from stack.engine.progress import Phase, PhaseReporter

PROBE_EVERY_S = 0.25

# How long a service that was ready before may fail its probe before it is started again.
UNRESPONSIVE_S = 15.0
# Attempts at provisioning. Between two attempts the service is restarted, after a pause that
# doubles each time.
PROVISION_TRIES = 3
PROVISION_PAUSE_S = 1.0


@dataclass(frozen=True)
class StartedService:
    """The result of starting one service: its state (ready, external) and the seconds it took."""

    service: str
    state: Phase
    seconds: float


@dataclass(frozen=True)
class _Program:
    """A program with the hash of its definition, which changes when it must be restarted."""

    spec: supervisor.ProgramSpec
    definition: str


def start_service(
    service: Service, settings: Settings, cancelled: threading.Event, report: PhaseReporter
) -> StartedService:
    """Bring one service to the state ready, or check that an external one is reachable.

    Raises:
        TickhouseError: It failed; the failure was reported as well.
    """
    began = time.monotonic()
    external = is_external(service, settings)
    try:
        if external:
            context = ServiceContext(service, settings)
            _require_external(context)
        else:
            context = _start(service, settings, cancelled, report)
        _provision(context, cancelled, report, may_restart=not external)
    except TickhouseError as error:
        report(service.name, "failed", error.message.splitlines()[0])
        raise
    phase: Phase = "external" if external else "ready"
    seconds = time.monotonic() - began
    report(service.name, phase, f"{seconds:.1f} s")
    return StartedService(service.name, phase, round(seconds, 1))


def is_external(service: Service, settings: Settings) -> bool:
    """Return whether the service's address was given from outside, so that we only probe it."""
    return service.external_setting is not None and settings.is_external(service.external_setting)


def _require_external(context: ServiceContext) -> None:
    if not external_is_reachable(context):
        name = (context.service.external_setting or "").upper()
        raise ServiceNotReady(
            f"{context.service.title} at {external_address(context)} (given by {name}) does not respond.",
            safe="Tickhouse does not manage it, so nothing was changed.",
            next_command=f"start it, or unset {name} to have a local one",
        )


def _start(service: Service, settings: Settings, cancelled: threading.Event, report: PhaseReporter) -> ServiceContext:
    report(service.name, "fetching")
    fetched = fetch(service, lambda line: report(service.name, "fetching", line))
    context = ServiceContext(service, settings, fetched)
    if service.is_unprivileged:
        binary = Path(context.render((service.command or ("",))[0]))
        context = ServiceContext(service, settings, fetched, unprivileged_prefix(binary, context.data))
    report(service.name, "preparing")
    programs = _programs(context, _render_files(context))
    changed = [program for program in programs if not _is_running_unchanged(program)]
    if not changed and not _becomes_ready(context, cancelled) and not cancelled.is_set():
        report(service.name, "restarting", "it is running, but does not respond")
        changed = programs
    if changed:
        _replace_programs(context, changed)
    report(service.name, "starting")
    _await_ready(context, cancelled)
    _run_hooks(service.setup.after_ready, context)
    return context


def _provision(
    context: ServiceContext, cancelled: threading.Event, report: PhaseReporter, *, may_restart: bool
) -> None:
    """Run the provisioning hooks; after a transient error restart the service and try again.

    An external service is not restarted. A server whose disk was full may pass its probe and still
    fail every other call until it is restarted.
    """
    for number in range(PROVISION_TRIES):
        report(context.service.name, "provisioning")
        try:
            _run_hooks(context.service.setup.provision, context)
            return
        except TransientError as error:
            if not may_restart or number + 1 == PROVISION_TRIES:
                raise
            report(context.service.name, "restarting", error.message.splitlines()[0])
        cancelled.wait(PROVISION_PAUSE_S * 2**number)
        _restart(context, cancelled)


def _restart(context: ServiceContext, cancelled: threading.Event) -> None:
    _replace_programs(context, _programs(context, _render_files(context)))
    _await_ready(context, cancelled)
    _run_hooks(context.service.setup.after_ready, context)


def _run_hooks(hooks: tuple[str, ...], context: ServiceContext) -> None:
    for hook in hooks:
        call_hook(hook, context)


# -- programs --------------------------------------------------------------------------------------


def _render_files(context: ServiceContext) -> bytes:
    """Write the configuration files and return their whole text."""
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


def _programs(context: ServiceContext, files: bytes) -> list[_Program]:
    stop = context.service.stop
    specs = [
        supervisor.ProgramSpec(
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
    inherited = inherited_environment()
    return [_Program(spec, spec.fingerprint(inherited, files)) for spec in specs]


def _is_running_unchanged(program: _Program) -> bool:
    """Return whether a program runs with the definition that it has now."""
    path = _definition_file(program.spec.name)
    is_same = path.exists() and path.read_text() == program.definition
    return is_same and supervisor.state(program.spec.name).is_alive


def _definition_file(program: str) -> Path:
    return supervisor.run_dir() / f"{program}.definition"


def _replace_programs(context: ServiceContext, changed: list[_Program]) -> None:
    """Stop the changed programs and start them with their new definition."""
    supervisor.stop([program.spec.name for program in changed])
    if len(changed) == len(context.service.all_programs()):
        _require_free_ports(context)
    _run_hooks(context.service.setup.before_start, context)
    for program in changed:
        supervisor.install(program.spec)
        _definition_file(program.spec.name).write_text(program.definition)
        supervisor.start(program.spec.name)


def _require_free_ports(context: ServiceContext) -> None:
    """Refuse to start on a port in use: the process that listens there could pass our probe.

    Raises:
        ServiceNotReady: A port is in use; the message names the process where it can be seen.
    """
    for name in context.service.ports:
        port = ports()[name]
        if accepts_connections(f"127.0.0.1:{port}"):
            raise ServiceNotReady(
                f"{context.service.title} cannot start: port {port} is taken by {port_owner(port)}.",
                safe="That process was not touched.",
                next_command="stop it, or move all ports: TICKHOUSE_PORT_BASE=31000 tickhouse up",
                page="port-taken",
            )


# -- readiness -------------------------------------------------------------------------------------


def _becomes_ready(context: ServiceContext, cancelled: threading.Event) -> bool:
    """Wait until a running service passes its probe; return False when it does not in time.

    The time is `UNRESPONSIVE_S` for a service that was ready before, and otherwise the timeout of a
    start.
    """
    path = _ready_file(context)
    was_ready = path.exists() and path.read_text() == _process_ids(context)
    deadline = time.monotonic() + (UNRESPONSIVE_S if was_ready else context.service.ready.timeout_s)
    while not is_ready(context):
        if cancelled.is_set() or time.monotonic() > deadline or _has_failed(context):
            return False
        cancelled.wait(PROBE_EVERY_S)
    return True


def _ready_file(context: ServiceContext) -> Path:
    """Return the file with the process ids with which the service was last ready."""
    return supervisor.run_dir() / f"{context.service.name}.ready"


def _process_ids(context: ServiceContext) -> str:
    """Return the process ids of the programs; they differ between two starts."""
    return " ".join(str(supervisor.state(name).pid) for name in context.service.all_programs())


def _has_failed(context: ServiceContext) -> bool:
    return any(not supervisor.state(name).is_alive for name in context.service.all_programs())


def _await_ready(context: ServiceContext, cancelled: threading.Event) -> None:
    """Poll until every program runs and the probe succeeds.

    Raises:
        ServiceNotReady: A program failed or keeps restarting, or the timeout passed.
    """
    programs = list(context.service.all_programs())
    starts: dict[str, set[int]] = {name: set() for name in programs}
    deadline = time.monotonic() + context.service.ready.timeout_s
    while not cancelled.is_set():
        states = supervisor.states()
        for name in programs:
            _require_no_failure(context, states.get(name), starts[name])
        if all(states[name].state in ("STARTING", "RUNNING") for name in programs) and is_ready(context):
            _ready_file(context).write_text(_process_ids(context))
            return
        if time.monotonic() > deadline:
            raise _failure(context, programs[0], f"did not answer within {context.service.ready.timeout_s:.0f} s")
        cancelled.wait(PROBE_EVERY_S)
    raise ServiceNotReady(f"{context.service.title} was still starting when another service failed.")


def _require_no_failure(context: ServiceContext, state: supervisor.ProgramState | None, starts: set[int]) -> None:
    if state is None:
        raise ServiceNotReady("supervisord ended while services were starting.", next_command="tickhouse up")
    if state.pid:
        starts.add(state.started_at)
    if state.state == "FATAL":
        raise _failure(context, state.name, "ended while starting")
    if len(starts) > context.service.start_retries + 1:
        supervisor.stop([state.name])
        raise _failure(context, state.name, f"ended {len(starts)} times while starting")


def _failure(context: ServiceContext, program: str, what: str) -> ServiceNotReady:
    end_of_log = supervisor.tail(supervisor.log_file(program))
    return ServiceNotReady(
        f"{context.service.title} {what}. The end of {supervisor.log_file(program)}:\n{end_of_log}\n",
        safe="Other services keep running; data is unchanged.",
        next_command=f"repair the cause, then tickhouse up (whole log: tickhouse logs {program})",
    )
