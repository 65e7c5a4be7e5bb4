"""What the engine tells while it works; the CLI shows it, tests and scripts may ignore it."""

from __future__ import annotations

from typing import Literal, Protocol

Phase = Literal[
    "waiting", "fetching", "preparing", "starting", "provisioning", "ready", "external", "failed", "stopping", "stopped"
]


class Reporter(Protocol):
    """Takes one message a change of phase; may be called from several threads."""

    def __call__(self, service: str, phase: Phase, detail: str = "") -> None:
        """Take one message."""


def silent(service: str, phase: Phase, detail: str = "") -> None:
    """Take no notice."""
