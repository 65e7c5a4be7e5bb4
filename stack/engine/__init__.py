"""The engine: starts, watches and stops the services of a home over supervisord.

    from stack.engine import up, down, status
    up(services=["kafka", "registry"])

Imports are deferred, because the CLI must start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack.engine.fetch import jar_dir
    from stack.engine.lifecycle import down, up
    from stack.engine.survey import status

__all__ = ["down", "jar_dir", "status", "up"]

_HOMES = {"up": "lifecycle", "down": "lifecycle", "status": "survey", "jar_dir": "fetch"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
