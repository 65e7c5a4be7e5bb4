"""The demo's own lakehouse: its home and ports are separate from those of the real one.

`tickhouse demo` and every `tickhouse --demo …` work in it. The environment that the demo was
started with is kept in `<home>/demo.json`: later commands need it to find the same services.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from common.errors import ConfigurationError
from common.market_kind import kind_of
from common.settings import SIZE, Settings, home, ports

MARK: Final = "demo.json"
SUFFIX: Final = "-demo"
# Added to every port, so that both lakehouses can run at once. Each uses fewer than 100 ports.
PORT_SHIFT: Final = 200
EXCHANGE_CONFIG: Final = "TICKHOUSE_EXCHANGE_CONFIG"
# Environment variables that a demo may be started with.
KEPT: Final = (SIZE, EXCHANGE_CONFIG)


def demo_home(of: Path) -> Path:
    """Return the home of the demo that belongs to a home; a demo's home is returned unchanged."""
    return of if of.name.endswith(SUFFIX) else of.with_name(of.name + SUFFIX)


def enter(*, is_new: bool = False) -> Path:
    """Switch this process and its children to the demo's home and ports; return the home.

    Args:
        is_new: A new demo is about to start, so the environment of an earlier one is ignored.

    Raises:
        ConfigurationError: An external service is configured, and the demo would write to it.
    """
    refuse_external()
    present = home()
    target = demo_home(present)
    if target != present:
        os.environ["TICKHOUSE_PORT_BASE"] = str(_first_port() + PORT_SHIFT)
        ports.cache_clear()
    os.environ["TICKHOUSE_HOME"] = str(target)
    if is_new:
        _unset_exchange_config(target)
        return target
    for name, value in kept(target).items():
        os.environ.setdefault(name, value)
    return target


def _unset_exchange_config(folder: Path) -> None:
    """Unset the market file of an earlier demo, because it is removed with that demo's home."""
    given = os.environ.get(EXCHANGE_CONFIG)
    if given and Path(given).resolve().is_relative_to(folder):
        del os.environ[EXCHANGE_CONFIG]


def refuse_external() -> None:
    """Refuse external services, because synthetic trades must not get into other stores.

    Raises:
        ConfigurationError: The environment names an external service.
    """
    given = sorted(name.upper() for name in Settings.model_fields if name.upper() in os.environ and _is_address(name))
    if given:
        raise ConfigurationError(
            f"The demo runs its own servers, but {', '.join(given)} names an external one.",
            safe="Nothing was started.",
            next_command=f"env -u {given[0]} tickhouse demo",
        )


def _is_address(name: str) -> bool:
    return name.endswith(("_url", "_uri", "_servers", "_endpoint", "_contact_points"))


def _first_port() -> int:
    return ports()["kafka"]


def kept(folder: Path) -> dict[str, str]:
    """Return the environment that the demo of a home was started with; empty without a demo."""
    try:
        document = json.loads((folder / MARK).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    found: dict[str, str] = document.get("environment", {})
    return found


def mark(folder: Path, started_at: float) -> None:
    """Mark a home as a demo's, with the environment that it was started with."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    (folder / MARK).write_text(json.dumps({"started_at": started_at, "environment": environment}))


def exports(environment: Mapping[str, str] = os.environ) -> str:
    """Return an `export` line after which every command of a shell works in this home."""
    names = ("TICKHOUSE_HOME", "TICKHOUSE_PORT_BASE", *KEPT)
    pairs = (f"{name}={shlex.quote(environment[name])}" for name in names if name in environment)
    return f"export {' '.join(pairs)}"


def is_demo(folder: Path) -> bool:
    """Return whether a home was made by the demo."""
    return (folder / MARK).exists()


def refuse_foreign(folder: Path) -> None:
    """Refuse to remove a home that a demo did not create, or that contains other data.

    Raises:
        ConfigurationError: The home is not a demo's.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return
    if is_demo(folder) and kind_of(folder) != "real" and not (folder / "truth" / "files.jsonl").exists():
        return
    raise ConfigurationError(
        f"The lakehouse in {folder} contains data that is not a demo's.",
        safe="Nothing was removed.",
        next_command="TICKHOUSE_HOME=$HOME/tickhouse tickhouse demo",
    )
