"""Progress messages of the engine, which the command line shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

Phase = Literal[
    "waiting",
    "fetching",
    "preparing",
    "starting",
    "restarting",
    "provisioning",
    "ready",
    "external",
    "failed",
    "stopping",
    "stopped",
]

# Receives one line of output at a time while Maven or Go works.
LineReporter = Callable[[str], None]


class PhaseReporter(Protocol):
    """Receives one message per change of phase; several threads may call it."""

    def __call__(self, service: str, phase: Phase, detail: str = "") -> None:
        """Report that a service entered a phase."""


def ignore_phase(service: str, phase: Phase, detail: str = "") -> None:
    """Ignore a change of phase."""


def ignore_line(line: str) -> None:
    """Ignore a line of output."""
