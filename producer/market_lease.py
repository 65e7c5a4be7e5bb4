"""The lease that lets only one live producer of a home work on a market.

Two producers of one market would send each trade twice: each has the ledger in memory, and neither
knows what the other one sends. The lease is a file lock (ADR 0006), which the kernel releases when
its holder ends, also after kill -9. Unlike the streaming driver, the first producer keeps it: the
supervisor watches that one, and a second one was started by mistake (ADR 0041).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from common.errors import LeaseHeld
from common.file_lock import is_locked, try_lock
from common.live_job import jobs_folder


def lease_file(home: Path, market: str) -> Path:
    """Return the file whose lock a market's producer holds."""
    return jobs_folder(home) / f"{market}.lock"


@contextmanager
def market_lease(home: Path, market: str) -> Iterator[None]:
    """Hold the lease of a market.

    Raises:
        LeaseHeld: Another producer holds it; nothing was sent.
    """
    path = lease_file(home, market)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if not try_lock(file):
            raise held(home, market)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": round(time.time(), 3)}).encode() + b"\n")
        file.flush()
        yield


def holder(home: Path, market: str) -> int | None:
    """Return the process id of the producer that holds a market's lease; None when nobody does.

    It is 0 while the holder has not written its process id yet.
    """
    path = lease_file(home, market)
    if not is_locked(path):
        return None
    try:
        return int(json.loads(path.read_bytes())["pid"])
    except (ValueError, KeyError, TypeError):
        return 0


def held(home: Path, market: str) -> LeaseHeld:
    """Return the error that names the producer that holds a market's lease."""
    pid = holder(home, market)
    who = f"process {pid} ({_command(pid)})" if pid else "another process"
    return LeaseHeld(
        f"A live producer of market {market} runs already: {who}.",
        safe="It goes on; nothing was sent.",
        next_command=f"tickhouse live status; to replace it: tickhouse live stop --market {market}, or end it",
    )


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline()[1:])[:120]
    except psutil.Error:
        return "ended meanwhile"
