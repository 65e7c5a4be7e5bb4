"""Bring trades of the past into Kafka, as `tickhouse backfill` and `tickhouse replay` do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from tickhouse.days import ONE_DAY
from tickhouse.errors import TerminalError, TransientError

# The exit codes of our error tree: 20 and above may be retried.
FIRST_TRANSIENT = 20


def command(params: Mapping[str, Any]) -> list[str]:
    """Return the command line for the parameters of DAG `backfill` (pure)."""
    market = ["--market", params["market"]]
    if params.get("file"):
        return ["replay", params["file"], *market, "--symbol", params["symbol"], "--json"]
    until = date.fromisoformat(params["to"]) + ONE_DAY
    return ["backfill", params["symbol"], *market, "--from", params["from"], "--to", str(until), "--json"]


def fetch(params: Mapping[str, Any]) -> dict[str, Any]:
    """Run the command in a process of its own and return its document; ends when every store has the trades.

    Raises:
        TerminalError: Retrying cannot help; the message is the command's.
        TransientError: It may.
    """
    line = [str(Path(sys.prefix) / "bin" / "tickhouse"), *command(params)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        kind = TransientError if done.returncode >= FIRST_TRANSIENT else TerminalError
        raise kind(done.stderr.strip()[-2000:] or f"{line} ended with {done.returncode}.")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
