"""Select services by profile or name, and order their start and stop."""

from __future__ import annotations

import graphlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from common.errors import ConfigurationError
from stack.engine.model import Service

# `full` means every service, so the definitions do not list it.
FULL = "full"

# Profiles that are useful only together with the core; selecting one selects the core as well.
CORE = "core"
ON_CORE = ("sinks", "observe")

# A start is mostly CPU work (JVM class loading). One more start than cores keeps all cores busy
# while a probe waits.
PARALLEL_STARTS = max(2, os.cpu_count() or 1) + 1


def profiles(catalog: Mapping[str, Service]) -> list[str]:
    """Return every profile name, `full` last."""
    return [*sorted({profile for service in catalog.values() for profile in service.profiles}), FULL]


def in_profile(catalog: Mapping[str, Service], profile: str) -> list[str]:
    """Return the names of the services of a profile.

    Raises:
        ConfigurationError: No service has that profile; the message lists the known ones.
    """
    if profile not in profiles(catalog):
        raise ConfigurationError(f"There is no profile {profile!r}; the profiles are {profiles(catalog)}.")
    wanted = {profile, CORE} if profile in ON_CORE else {profile}
    return [name for name, service in catalog.items() if profile == FULL or wanted.intersection(service.profiles)]


def with_wanted(catalog: Mapping[str, Service], names: Iterable[str], wanted: Collection[str]) -> list[str]:
    """Return the services of a profile, with those of `wanted` if the core is among them.

    Args:
        catalog: Every service, by name.
        names: The services of the profile.
        wanted: Those services with a `home_file` whose file is there.
    """
    chosen = [name for name in names if not catalog[name].home_file or name in wanted]
    has_core = any(CORE in catalog[name].profiles for name in chosen)
    return chosen + [name for name in wanted if has_core and name not in chosen]


def closure(
    catalog: Mapping[str, Service], names: Iterable[str], settings: object = None
) -> dict[str, tuple[str, ...]]:
    """Return the dependency graph (service to what it needs) of `names` and all they need.

    Args:
        catalog: Every service, by name.
        names: The services asked for.
        settings: Decides `depends_when`; None leaves those dependencies out.

    Raises:
        ConfigurationError: A name is unknown, or the dependencies form a circle.
    """
    graph: dict[str, tuple[str, ...]] = {}
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in catalog:
            raise ConfigurationError(f"There is no service {name!r}; the services are {sorted(catalog)}.")
        if name not in graph:
            graph[name] = catalog[name].needed(settings) if settings else catalog[name].depends_on
            queue.extend(graph[name])
    start_order(graph)
    return graph


def start_order(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Return the services, dependencies first, in an order that is the same every time.

    Raises:
        ConfigurationError: The dependencies form a circle.
    """
    sorter = graphlib.TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)})
    try:
        return list(sorter.static_order())
    except graphlib.CycleError as error:
        raise ConfigurationError(f"Services depend on each other in a circle: {error.args[1]}.") from error


def reverse(graph: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return the graph with every edge reversed, so that dependants come first."""
    reversed_graph: dict[str, list[str]] = {name: [] for name in graph}
    for name, needed in graph.items():
        for dependency in needed:
            reversed_graph[dependency].append(name)
    return reversed_graph


def stop_graph(catalog: Mapping[str, Service]) -> dict[str, list[str]]:
    """Return the stop graph: a service stops after all services that depend on it or use it."""
    used = {name: _used_services(service) for name, service in catalog.items()}
    return reverse({name: [other for other in others if other in catalog] for name, others in used.items()})


def _used_services(service: Service) -> list[str]:
    """Return every service that this one may need, with any settings."""
    used = [*service.depends_on, *service.stops_before]
    for services_by_value in service.depends_when.values():
        for services in services_by_value.values():
            used.extend(services)
    return used


def run_in_order(
    graph: Mapping[str, Collection[str]],
    work: Callable[[str, threading.Event], None],
    parallel: int = PARALLEL_STARTS,
) -> None:
    """Call `work(name, cancelled)` for every node, in parallel where the graph allows it.

    After the first failure no new work begins, and `cancelled` is set so that running work can end
    early. The failure is raised when all work has ended.
    """
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    cancelled = threading.Event()
    failure: BaseException | None = None
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        running: dict[Future[None], str] = {}
        while failure is None and sorter.is_active():
            running |= {pool.submit(work, name, cancelled): name for name in sorter.get_ready()}
            failure = _wait_for_one(running, sorter, cancelled)
        cancelled.set()
    if failure is not None:
        raise failure


def _wait_for_one(
    running: dict[Future[None], str], sorter: graphlib.TopologicalSorter[str], cancelled: threading.Event
) -> BaseException | None:
    try:
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
    except BaseException:  # Ctrl-C: cancel the workers, otherwise the pool would wait for them
        cancelled.set()
        raise
    for future in ended:
        name = running.pop(future)
        error = future.exception()
        if error is not None:
            return error
        sorter.done(name)
    return None
