"""Whether the trades of a lakehouse are real or synthetic. A lakehouse never holds both.

A synthetic market uses real symbols with invented prices, and its ids may be equal to ids of real
trades. So the first writer of a home records the kind in `<home>/market.json`, and a writer of the
other kind is refused.

The local exchange marks its market as synthetic in a header of every answer; a real exchange never
sends this header.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final, Literal

from common.errors import ConfigurationError

Kind = Literal["real", "simulated"]

# Value of `source` in every record of a synthetic market.
SIMULATED: Final = "SIMULATED"
# Header of every answer of the local exchange when its market is synthetic; the value is
# `SIMULATED`.
HEADER: Final = "X-Tickhouse-Market"

FILE: Final = "market.json"
# Set by our own tests and benchmarks, which use the same servers for both kinds.
ALLOW_MIXED: Final = "TICKHOUSE_ALLOW_MIXED_MARKETS"

BANNER: Final = "SIMULATED: a synthetic market. No price, quantity or trade here is real."


def kind_of(home: Path) -> Kind | None:
    """Return the kind of trades in a home, None while it has no trades.

    A home of an earlier version has no `market.json`; its kind follows from the files in `truth/`.

    Raises:
        ConfigurationError: `market.json` does not parse.
    """
    path = home / FILE
    try:
        kind = json.loads(path.read_text())["kind"]
    except FileNotFoundError:
        return _kind_from_truth_files(home / "truth")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} does not name the kind of market of this home: {error!r}.") from error
    return "simulated" if kind == "simulated" else "real"


def _kind_from_truth_files(truth: Path) -> Kind | None:
    if (truth / "files.jsonl").exists():
        return "real"
    try:
        account = json.loads((truth / "exchange.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    # An exchange without any subscription has offered nothing.
    if not account.get("streams_subscribed"):
        return None
    return "simulated" if account.get("source") == "synthetic" else "real"


def is_simulated(home: Path) -> bool:
    """Return whether the trades in a home are synthetic."""
    return kind_of(home) == "simulated"


def banner(home: Path) -> str:
    """Return the first line of every page; empty for a home with real trades."""
    return BANNER if is_simulated(home) else ""


def refuse_other(home: Path, kind: Kind) -> None:
    """Refuse to write trades of a kind into a home that holds the other kind.

    Raises:
        ConfigurationError: The home has trades of the other kind.
    """
    present = kind_of(home)
    if present in (None, kind) or os.environ.get(ALLOW_MIXED) == "1":
        return
    if kind == "simulated":
        raise ConfigurationError(
            f"The lakehouse in {home} holds real trades; a synthetic market would mix with them.",
            safe="Nothing was started or sent.",
            next_command="tickhouse demo (it has a home of its own)",
        )
    raise ConfigurationError(
        f"The lakehouse in {home} holds a synthetic market; real trades would mix with it.",
        safe="Nothing was started or sent.",
        next_command="use another TICKHOUSE_HOME, or delete this one: tickhouse down --purge",
    )


def claim(home: Path, kind: Kind) -> None:
    """Record the kind of trades that a writer will send; the first writer of a home decides.

    Raises:
        ConfigurationError: The home has trades of the other kind.
    """
    refuse_other(home, kind)
    path = home / FILE
    if path.exists():
        return
    home.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{FILE}.{os.getpid()}")
    temporary.write_text(json.dumps({"kind": kind_of(home) or kind, "since_us": time.time_ns() // 1000}) + "\n")
    try:
        os.link(temporary, path)  # unlike a rename, this fails when another writer was faster
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    refuse_other(home, kind)
