"""The status of every service, and the disk space of the home."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import psutil

from common.settings import Settings, home, load_settings, ports
from stack.engine import supervisor
from stack.engine.lifecycle import catalog, context_of
from stack.engine.model import Service
from stack.engine.privileges import nearest_existing
from stack.engine.probe import external_is_reachable, is_ready
from stack.engine.processes import process_tree

Health = Literal["ready", "not ready", "stopped"]

# Enough for a day of demo data with Kafka's segments, the lake and Airflow's logs. The cache holds
# 0.4 GB of jars.
FREE_DISK_GB = 5


@dataclass(frozen=True)
class ServiceStatus:
    """One service: the state of its programs, its health, the memory of its processes in MB."""

    name: str
    state: str
    health: Health
    is_external: bool
    pids: tuple[int, ...]
    memory_mb: int
    expected_memory_mb: int
    uptime_s: int
    ports: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def status(known: Mapping[str, Service] | None = None) -> list[ServiceStatus]:
    """Return the status of every service; those that do not run are listed as stopped."""
    services = list((known if known is not None else catalog()).values())
    settings = load_settings()
    states = supervisor.states()
    with ThreadPoolExecutor(max_workers=len(services)) as pool:
        return list(pool.map(lambda service: _status(service, settings, states), services))


def _status(service: Service, settings: Settings, states: Mapping[str, supervisor.ProgramState]) -> ServiceStatus:
    is_external = service.external_setting is not None and settings.is_external(service.external_setting)
    programs = [states[name] for name in service.all_programs() if name in states]
    pids = tuple(program.pid for program in programs if program.pid)
    started = [program.started_at for program in programs if program.pid]
    return ServiceStatus(
        name=service.name,
        state="EXTERNAL" if is_external else _worst_state(programs, len(service.all_programs())),
        health=_health(service, settings, is_external=is_external, is_alive=any(state.is_alive for state in programs)),
        is_external=is_external,
        pids=pids,
        memory_mb=memory_mb(pids),
        expected_memory_mb=service.memory_mb,
        uptime_s=int(time.time() - min(started)) if started else 0,
        ports=tuple(ports()[name] for name in service.ports),
    )


@dataclass(frozen=True)
class DiskStatus:
    """The disk space of the home in GB (10^9 bytes)."""

    folder: str
    total_gb: float
    free_gb: float

    @property
    def is_low(self) -> bool:
        """Return whether servers will soon fail to write."""
        return self.free_gb < FREE_DISK_GB

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {**asdict(self), "is_low": self.is_low}


def disk() -> DiskStatus:
    """Return the disk space of this home."""
    usage = shutil.disk_usage(nearest_existing(home()))
    return DiskStatus(str(home()), round(usage.total / 1e9, 1), round(usage.free / 1e9, 1))


def memory_mb(pids: Iterable[int]) -> int:
    """Return the memory of process trees in MB, as proportional set size (PSS).

    PSS divides shared pages among the processes. RSS would count the interpreter that Airflow's
    forked workers share many times.
    """
    total = 0
    for process in (descendant for pid in pids for descendant in process_tree(pid)):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total // 1_000_000


def _worst_state(states: list[supervisor.ProgramState], programs: int) -> str:
    """Return the worst state of the programs.

    A program that supervisord does not know is stopped.
    """
    if len(states) < programs:
        return "STOPPED"
    order = ("FATAL", "UNKNOWN", "BACKOFF", "EXITED", "STOPPED", "STOPPING", "STARTING", "RUNNING")
    return min((state.state for state in states), key=order.index)


def _health(service: Service, settings: Settings, *, is_external: bool, is_alive: bool) -> Health:
    if not is_external and not is_alive:
        return "stopped"
    context = context_of(service, settings)
    is_up = external_is_reachable(context) if is_external else is_ready(context)
    return "ready" if is_up else "not ready"
