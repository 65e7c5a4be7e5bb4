"""Stop the services of a home for the time of a backup, and start the same ones again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stack.engine import supervisor
from stack.engine.lifecycle import catalog, down, up
from stack.engine.progress import PhaseReporter


def running_services() -> list[str]:
    """Return the services of which a program is alive."""
    alive = {name for name, state in supervisor.states().items() if state.is_alive}
    return [name for name, service in catalog().items() if alive.intersection(service.all_programs())]


@contextmanager
def stopped(report: PhaseReporter) -> Iterator[list[str]]:
    """Stop every service, and start those that ran when the block ends, also after an error.

    Yield their names. After a kill they stay stopped; `tickhouse up` starts them.
    """
    services = running_services()
    down(report=report)
    try:
        yield services
    finally:
        if services:
            up(services=services, report=report)
