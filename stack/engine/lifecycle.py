"""Start services in dependency order and stop them in reverse.

`up` is idempotent: a service that runs with the same definition is left alone, a start that was
interrupted is finished, and orphans of a killed supervisord are ended first.
"""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Collection, Mapping

from common.errors import ConfigurationError
from common.settings import Settings, home, load_settings, secrets_file
from stack.engine import graph as graphs
from stack.engine import supervisor
from stack.engine.context import ServiceContext
from stack.engine.home_folder import HOME_MARK, locked_home, refuse_unfinished_restore
from stack.engine.model import STACK, Service, read_catalog
from stack.engine.orphans import orphans
from stack.engine.processes import end_processes, process_tree
from stack.engine.progress import PhaseReporter, ignore_phase
from stack.engine.secrets import ensure_secrets
from stack.engine.service_start import StartedService, is_external, start_service


def catalog() -> dict[str, Service]:
    """Return every service of the repository, by name."""
    return read_catalog(STACK)


def up(
    profile: str = "core",
    services: list[str] | None = None,
    *,
    report: PhaseReporter = ignore_phase,
    known: Mapping[str, Service] | None = None,
) -> list[StartedService]:
    """Start a profile or services with everything they depend on; return what was started.

    Args:
        profile: Profile name; ignored when `services` is given.
        services: Service names.
        report: Receives every change of phase.
        known: Service definitions, by default those of the repository.

    Raises:
        ConfigurationError: A profile, service or setting is wrong, or a restore is unfinished.
        PrerequisiteMissing: Something must be installed first.
        ServiceNotReady: A service failed; the message holds the end of its log. Repair the cause
            and run `up` again.
    """
    known = known if known is not None else catalog()
    # Refuse a wrong name before anything is made.
    graphs.closure(known, services if services is not None else graphs.in_profile(known, profile))
    _require_wanted(known, services or ())
    with locked_home():
        refuse_unfinished_restore()
        ensure_secrets(secrets_file())
        settings = load_settings()
        wanted = services if services is not None else _services_of_profile(known, profile)
        graph = graphs.closure(known, wanted, settings)
        if supervisor.supervisor_pid() is None:
            end_processes(orphans())
        if any(not is_external(known[name], settings) for name in graph):
            supervisor.ensure_supervisor()
        started: dict[str, StartedService] = {}

        def start(name: str, cancelled: threading.Event) -> None:
            started[name] = start_service(known[name], settings, cancelled, report)

        graphs.run_in_order(graph, start)
    return [started[name] for name in graphs.start_order(graph)]


def _services_of_profile(known: Mapping[str, Service], profile: str) -> list[str]:
    wanted = [name for name, service in known.items() if service.home_file and _is_wanted(service)]
    return graphs.with_wanted(known, graphs.in_profile(known, profile), wanted)


def _is_wanted(service: Service) -> bool:
    return not service.home_file or (home() / service.home_file).exists()


def _require_wanted(known: Mapping[str, Service], names: Collection[str]) -> None:
    """Refuse services by name whose file in the home is missing.

    Raises:
        ConfigurationError: There is no such file.
    """
    for service in (known[name] for name in names):
        if not _is_wanted(service):
            raise ConfigurationError(
                f"There is no {service.title}: {home() / service.home_file} does not exist.",
                safe="Nothing was started.",
                next_command="tickhouse live start",
            )


def remove_services(names: Collection[str]) -> list[str]:
    """Stop services that are no longer wanted, and return those that ran.

    They leave supervisord, so that no monitor takes them for services that have failed. Services
    that depend on them are left alone.
    """
    if not home().exists():
        return []
    with locked_home():
        states = {name: state for name, state in supervisor.states().items() if name in names}
        running = [name for name, state in states.items() if state.is_alive]
        supervisor.stop(running)
        for name in states:
            supervisor.uninstall(name)
        return running


def down(
    *, purge: bool = False, report: PhaseReporter = ignore_phase, known: Mapping[str, Service] | None = None
) -> None:
    """Stop all services of this home, dependants first, then supervisord itself.

    Args:
        purge: Remove the home as well: data, logs, secrets.
        report: Receives every change of phase.
        known: Service definitions, by default those of the repository.

    Raises:
        ConfigurationError: `purge` was asked for a folder that `up` did not make.
    """
    if not home().exists():
        return
    if purge and not (home() / HOME_MARK).exists() and any(home().iterdir()):
        raise ConfigurationError(f"{home()} was not made by tickhouse up.", safe="Nothing was removed.")
    known = known if known is not None else catalog()
    with locked_home():
        supervised = process_tree(supervisor.supervisor_pid() or 0)[1:]
        if supervisor.states():
            graphs.run_in_order(graphs.stop_graph(known), functools.partial(_stop_service, known, report))
        supervisor.stop_supervisor()
        end_processes([*(process for process in supervised if process.is_running()), *orphans()])
        for path in supervisor.run_dir().glob("*.pid"):
            path.unlink(missing_ok=True)  # a program removes its own when it ends
        if purge:
            shutil.rmtree(home())
            supervisor.remove_socket()


def _stop_service(known: Mapping[str, Service], report: PhaseReporter, name: str, _cancelled: threading.Event) -> None:
    states = supervisor.states()
    alive = [program for program in known[name].all_programs() if program in states and states[program].is_alive]
    if alive:
        report(name, "stopping")
        supervisor.stop(known[name].stop.first)
        supervisor.stop(alive)
        report(name, "stopped")


def context_of(service: Service, settings: Settings | None = None) -> ServiceContext:
    """Return the context of a service for probing: nothing is fetched or prepared."""
    return ServiceContext(service, settings or load_settings())
