"""Which stores of profile `sinks` take part: those this home's supervisor knows, or that are given from outside."""

from __future__ import annotations

import os

from stack.engine import supervise
from tickhouse.settings import Settings

# Store to the setting that gives it from outside.
SINKS = {
    "mongodb": "mongodb_uri",
    "elasticsearch": "elasticsearch_url",
    "cassandra": "cassandra_contact_points",
}


def enabled_sinks(settings: Settings) -> tuple[str, ...]:
    """Return the stores that should hold every event here: one that has died, too, but none that was never started."""
    known = supervise.states()
    return tuple(store for store, setting in SINKS.items() if store in known or _is_given(settings, setting))


def _is_given(settings: Settings, setting: str) -> bool:
    # Empty is how a composed stack says that a profile is off.
    return settings.is_external(setting) and bool(os.environ.get(setting.upper()))
