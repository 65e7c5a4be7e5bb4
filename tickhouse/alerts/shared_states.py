"""A copy of the states of rules in Geode, where other processes read them.

PostgreSQL keeps the truth: there a state changes in one transaction with the alert that it caused.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from common.clients import alert_entries
from common.clients.geode import Geode
from common.errors import TickhouseError
from common.optional_stores import has_store
from common.settings import Settings
from tickhouse.alerts.state import RuleState

log = structlog.get_logger("alerts.shared_states")


class SharedStates:
    """Copies states to Geode where Geode is a part of the installation.

    Args:
        settings: Address and password.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # States that Geode does not have yet.
        self._missing: dict[str, RuleState] = {}

    def save(self, states: Mapping[str, RuleState]) -> None:
        """Add states, or replace those with the same keys.

        No alert waits for the copy: states that were not copied are kept for the next call.
        """
        if not has_store(self._settings, "geode"):
            return
        self._missing |= states
        if not self._missing:
            return
        try:
            with Geode.of(self._settings, "writer") as writer:
                alert_entries.save_states(writer, {key: state.document() for key, state in self._missing.items()})
            self._missing.clear()
        except TickhouseError as error:
            log.warning("states not copied yet", states=len(self._missing), error=str(error))
