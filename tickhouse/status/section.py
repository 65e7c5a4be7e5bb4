"""What every section of the status shares: its type, and a time limit for each request."""

from __future__ import annotations

from typing import Any

from common.errors import ServiceNotReady
from stack.engine.probe import accepts_connections

# One refresh of the screen must not hang on a server that is about to fail.
ANSWER_S = 5.0
# A count that takes longer is given up: it reads every row, so after months it would take minutes,
# again at each refresh.
COUNT_S = 3

Section = dict[str, Any]


def require_answer(address: str, title: str, service: str) -> None:
    """Check that something listens at `host:port`.

    Raises:
        ServiceNotReady: Nothing listens there.
    """
    if not accepts_connections(address):
        raise ServiceNotReady(f"{title} at {address} does not answer.", next_command=f"tickhouse logs {service}")
