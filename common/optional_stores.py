"""Stores that an installation may do without, and whether it has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from common.clients import influxdb
from common.settings import Settings


def has_store(settings: Settings, store: str) -> bool:
    """Return whether a store is a part of this installation.

    It is if it was started in this home, or if its address was set from outside. A store that does
    not run now still counts: what feeds it waits for it, and catches up.

    Args:
        settings: Home and addresses.
        store: A name of `STORES`.
    """
    return STORES[store](settings)


def _has_geode(settings: Settings) -> bool:
    if settings.is_external("geode_url"):
        # With docker compose an empty variable means that the profile is off.
        return bool(os.environ.get("GEODE_URL"))
    return (settings.home / "data" / "geode").is_dir()


STORES: Final[dict[str, Callable[[Settings], bool]]] = {"geode": _has_geode, "influxdb": influxdb.is_set_up}
