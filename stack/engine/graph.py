"""Which services a request means, and in which order they start and stop."""

from __future__ import annotations

import graphlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from stack.engine.model import Service
from tickhouse.errors import ConfigurationError

# `full` is every profile; it is not written into each service.
FULL = "full"

# What these add is of use on top of the core only: they bring it.
CORE = "core"
ON_CORE = ("sinks",)

# Starting is mostly CPU (JVM class loading): one more than the cores keeps them busy while probes wait.
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
        raise ConfigurationError(f"Expected a profile of {profiles(catalog)}, was {profile!r}.")
    wanted = {profile, CORE} if profile in ON_CORE else {profile}
    return [name for name, service in catalog.items() if profile == FULL or wanted.intersection(service.profiles)]


def closure(
    catalog: Mapping[str, Service], names: Iterable[str], settings: object = None
) -> dict[str, tuple[str, ...]]:
    """Return the dependency graph (service to what it needs) of `names` and all they need.

    Args:
        catalog: Every service, by name.
        names: The services asked for.
        settings: Decides `depends_when`; without any, those are left out.

    Raises:
        ConfigurationError: A name is unknown, or the dependencies run in a circle.
    """
    graph: dict[str, tuple[str, ...]] = {}
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in catalog:
            raise ConfigurationError(f"Expected a service of {sorted(catalog)}, was {name!r}.")
        if name not in graph:
            graph[name] = catalog[name].needed(settings) if settings else catalog[name].depends_on
            queue.extend(graph[name])
    start_order(graph)
    return graph


def start_order(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Return the services, dependencies first, names in a stable order.

    Raises:
        ConfigurationError: The dependencies run in a circle.
    """
    sorter = graphlib.TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)})
    try:
        return list(sorter.static_order())
    except graphlib.CycleError as error:
        raise ConfigurationError(f"Services depend on each other in a circle: {error.args[1]}.") from error


def reverse(graph: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return the graph turned round, so that dependants come before what they depend on."""
    turned: dict[str, list[str]] = {name: [] for name in graph}
    for name, needed in graph.items():
        for dependency in needed:
            turned[dependency].append(name)
    return turned


def stop_graph(catalog: Mapping[str, Service]) -> dict[str, list[str]]:
    """Return the graph to stop everything by: a service after all that depend on it or use it."""
    return reverse({name: [one for one in _used(service) if one in catalog] for name, service in catalog.items()})


def _used(service: Service) -> list[str]:
    sometimes = (services for by in service.depends_when.values() for services in by.values())
    return [*service.depends_on, *service.stops_before, *(one for services in sometimes for one in services)]


def run_in_order(
    graph: Mapping[str, Collection[str]],
    work: Callable[[str, threading.Event], None],
    parallel: int = PARALLEL_STARTS,
) -> None:
    """Call `work(name, cancelled)` for every node, in parallel where the graph allows.

    At the first failure nothing new is begun, `cancelled` is set so that running work can end early, and the
    failure is raised once all have ended.
    """
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    cancelled = threading.Event()
    failure: BaseException | None = None
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        running: dict[Future[None], str] = {}
        while failure is None and sorter.is_active():
            running |= {pool.submit(work, name, cancelled): name for name in sorter.get_ready()}
            failure = _await_one(running, sorter, cancelled)
        cancelled.set()
    if failure is not None:
        raise failure


def _await_one(
    running: dict[Future[None], str], sorter: graphlib.TopologicalSorter[str], cancelled: threading.Event
) -> BaseException | None:
    try:
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
    except BaseException:  # Ctrl-C while waiting: let the workers see it, or the pool would wait for them
        cancelled.set()
        raise
    for future in ended:
        name = running.pop(future)
        error = future.exception()
        if error is not None:
            return error
        sorter.done(name)
    return None
