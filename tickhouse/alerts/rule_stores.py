"""Which rules this installation judges by: those of a file, or those in Geode, which can be edited.

While Geode has no rule, the rules of the file hold. The first edit puts all of them into Geode.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from common.clients import alert_entries, geode
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings
from stack.engine.enabled import is_statistics_enabled
from tickhouse.alerts.rules import Rule, RuleFile, RuleStore, parse_rule, rule_document

log = structlog.get_logger("alerts.rules")


class GeodeRules:
    """Rules in Geode.

    Args:
        settings: Addresses and passwords.
        given: The rules that hold while Geode has none.
    """

    def __init__(self, settings: Settings, given: RuleStore) -> None:
        self._settings = settings
        self._given = given

    def rules(self) -> dict[str, Rule]:
        """Return every rule by id.

        Raises:
            StoreUnavailable: Geode does not answer.
            ConfigurationError: A rule in Geode, or the file, is not valid.
        """
        with geode.connected(self._settings, "reader") as client:
            found = alert_entries.rules(client)
        return {name: parse_rule(found[name]) for name in sorted(found)} if found else self._given.rules()

    def put(self, rule: Rule) -> None:
        """Add a rule, or replace the one with its id.

        Raises:
            StoreUnavailable: Geode does not answer.
        """
        with geode.connected(self._settings, "editor") as client:
            self._begin(client)
            alert_entries.put_rule(client, rule_document(rule))

    def remove(self, rule_id: str) -> bool:
        """Remove a rule; return whether it was there.

        Raises:
            ConfigurationError: It is the last one; without any, those of the file would hold again.
            StoreUnavailable: Geode does not answer.
        """
        with geode.connected(self._settings, "editor") as client:
            self._begin(client)
            if [*alert_entries.rules(client)] == [rule_id]:
                raise ConfigurationError(
                    f"{rule_id} is the last rule; without any, the rules of the file hold again.",
                    next_command="set is_enabled to false instead",
                )
            return alert_entries.remove_rule(client, rule_id)

    def _begin(self, client: geode.Geode) -> None:
        if not alert_entries.rules(client):
            alert_entries.add_missing_rules(client, map(rule_document, self._given.rules().values()))


def rule_file(settings: Settings) -> RuleFile:
    """Return the rules of the file."""
    return RuleFile(Path(settings.alert_rules_file)) if settings.alert_rules_file else RuleFile()


def present_rules(settings: Settings) -> RuleStore:
    """Return the rules that hold now: those in Geode if it is enabled, else those of the file."""
    given = rule_file(settings)
    return GeodeRules(settings, given) if is_statistics_enabled(settings) else given


class WatchedRules:
    """The rules for the watcher, which must start and go on while Geode is down.

    Args:
        settings: Addresses and passwords.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._has_read = False

    def rules(self) -> dict[str, Rule]:
        """Return every rule by id; those of the file while Geode has never answered.

        Raises:
            StoreUnavailable: Geode does not answer any more; the rules that were read go on.
            ConfigurationError: A rule is not valid.
        """
        try:
            found = present_rules(self._settings).rules()
        except StoreUnavailable as error:
            if self._has_read:
                raise
            log.warning("rules of the file", error=str(error))
            return rule_file(self._settings).rules()
        self._has_read = True
        return found
