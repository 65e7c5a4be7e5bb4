"""What runs, how it feels, and what it uses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import psutil

from stack.engine import supervise
from stack.engine.leftovers import tree
from stack.engine.lifecycle import catalog, context_of
from stack.engine.model import Service
from stack.engine.probe import external_answers, is_ready
from tickhouse.settings import Settings, load_settings, ports

Health = Literal["ready", "not ready", "stopped"]


@dataclass(frozen=True)
class ServiceStatus:
    """One service: its programs by supervisord's words, its probe, its memory (resident, of all processes, MB)."""

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
        """Return plain values for JSON."""
        return asdict(self)


def status(known: Mapping[str, Service] | None = None) -> list[ServiceStatus]:
    """Probe every service that runs or is external; those of profiles that are down are listed as stopped."""
    services = list((known if known is not None else catalog()).values())
    settings = load_settings()
    states = supervise.states()
    with ThreadPoolExecutor(max_workers=len(services)) as pool:
        return list(pool.map(lambda service: _status(service, settings, states), services))


def _status(service: Service, settings: Settings, states: Mapping[str, supervise.ProgramState]) -> ServiceStatus:
    is_external = service.external_setting is not None and settings.is_external(service.external_setting)
    mine = [states[name] for name in service.all_programs() if name in states]
    pids = tuple(state.pid for state in mine if state.pid)
    started = [state.started_at for state in mine if state.pid]
    return ServiceStatus(
        name=service.name,
        state="EXTERNAL" if is_external else _worst(mine, len(service.all_programs())),
        health=_health(service, settings, is_external=is_external, is_alive=any(one.is_alive for one in mine)),
        is_external=is_external,
        pids=pids,
        memory_mb=memory_mb(pids),
        expected_memory_mb=service.memory_mb,
        uptime_s=int(time.time() - min(started)) if started else 0,
        ports=tuple(ports()[name] for name in service.ports),
    )


def memory_mb(pids: Iterable[int]) -> int:
    """Return the resident memory of process trees, MB, a page shared by several counted in parts (PSS).

    With plain RSS Airflow's forked workers would count the same interpreter many times.
    """
    total = 0
    for process in (one for pid in pids for one in tree(pid)):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total // 1_000_000


def _worst(states: list[supervise.ProgramState], programs: int) -> str:
    """Return the state that asks most for attention; a program unknown to supervisord is stopped."""
    if len(states) < programs:
        return "STOPPED"
    order = ("FATAL", "UNKNOWN", "BACKOFF", "EXITED", "STOPPED", "STOPPING", "STARTING", "RUNNING")
    return min((state.state for state in states), key=order.index)


def _health(service: Service, settings: Settings, *, is_external: bool, is_alive: bool) -> Health:
    if not is_external and not is_alive:
        return "stopped"
    context = context_of(service, settings)
    answers = external_answers(context) if is_external else is_ready(context)
    return "ready" if answers else "not ready"
