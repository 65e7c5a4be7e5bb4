"""Turn what the watcher sees into alerts: rules, states and windows in memory, no I/O.

Each call returns the alerts that ring. The states that changed wait in `changed` until the watcher
has stored them together with the alerts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from common.runbook import page_path
from tickhouse.alerts.alert import Alert, iso
from tickhouse.alerts.candle_rules import RuleFinding, look, look_back
from tickhouse.alerts.rules import (
    PAGES,
    SEVERITIES,
    CandleRule,
    FailedAudit,
    GapOpen,
    PriceMove,
    Rule,
    StoreBehind,
    VolumeSpike,
)
from tickhouse.alerts.state import MINUTE_US, RuleState, judge, key
from tickhouse.alerts.status_rules import (
    AUDIT_PASSED,
    METRIC_ALERT,
    OWN_CONSUMERS,
    Announced,
    announced,
    gap_finding,
    is_for,
    is_repaired,
    lag_finding,
    open_gaps,
    state_subject,
)
from tickhouse.alerts.windows import CandleStream, PriceBar, Windows

# A candle that arrives later than this after its minute is about old data: a replayed file, a
# backfill, an outage. A person who is called then could not do anything about it.
HISTORIC_AFTER_US = 15 * MINUTE_US


R = TypeVar("R", bound=Rule)


class Moment(NamedTuple):
    """When something is judged: the clock, and whether the market is synthetic.

    A synthetic market has its own time, so none of its data is old.
    """

    now_us: int
    is_simulated: bool


class Judge:
    """Judges everything by the present rules.

    Args:
        rules: The present rules by id; `use` replaces them.
        states: What the rules remember, by key.
        windows: The last minutes of each symbol.
    """

    def __init__(self, rules: Mapping[str, Rule], states: Mapping[str, RuleState], windows: Windows) -> None:
        self._rules = [*rules.values()]
        self._states = dict(states)
        self._windows = windows
        self.changed: dict[str, RuleState] = {}

    def use(self, rules: Mapping[str, Rule]) -> None:
        """Judge by these rules from now on; states of rules that are gone stay unused."""
        self._rules = [*rules.values()]

    def candle(self, stream: CandleStream, bar: PriceBar, arrived_us: int, moment: Moment) -> list[Alert]:
        """Judge one candle.

        Args:
            stream: Where it comes from.
            bar: Its values so far.
            arrived_us: When the broker got it. This decides whether it is about old data, so that
                a second reading of the log decides the same.
            moment: When it is judged.
        """
        self._windows.put(stream, bar)
        late_us = arrived_us - bar.minute_us - MINUTE_US
        is_historic = not moment.is_simulated and late_us > HISTORIC_AFTER_US
        alerts = []
        for rule in self._candle_rules(stream):
            finding = look(rule, bar, self._windows.before(stream, bar.minute_us, look_back(rule)))
            name = key(rule.id, stream.subject, is_historic=is_historic)
            if finding and self._rings(rule, name, bar.minute_us, finding):
                text = f"{stream.symbol} ({stream.market}) {finding.text}"
                made = _alert(rule, stream.subject, iso(bar.minute_us), text=text, values=finding.values, moment=moment)
                alerts.append(replace(made, market=stream.market, symbol=stream.symbol, is_historic=is_historic))
        return alerts

    def gaps(self, values: Iterable[Mapping[str, Any]], moment: Moment) -> list[Alert]:
        """Judge the latest values of all gaps."""
        found = open_gaps(values)
        alerts = []
        for rule in self._enabled(GapOpen):
            for gap in found.values():
                finding = gap_finding(rule, gap, moment.now_us)
                if self._rings(rule, key(rule.id, gap.subject), moment.now_us, finding):
                    text = f"{gap.symbol} ({gap.market}, {gap.stream}): {finding.text}"
                    made = _alert(rule, gap.subject, str(gap.first_id), text=text, values=finding.values, moment=moment)
                    alerts.append(replace(made, market=gap.market, symbol=gap.symbol))
            self._calm_all_but(rule, found, moment.now_us)
        return alerts

    def lags(self, records: Mapping[str, int], moment: Moment) -> list[Alert]:
        """Judge the lag of each consumer in records."""
        alerts = []
        for rule in self._enabled(StoreBehind):
            for consumer in sorted(records.keys() - set(OWN_CONSUMERS)):
                name = key(rule.id, consumer)
                finding, state = lag_finding(rule, records[consumer], self._state(name), moment.now_us)
                self._remember(name, state)
                if self._rings(rule, name, moment.now_us, finding):
                    window = finding.values["since"]
                    text = f"{consumer} {finding.text}"
                    alerts.append(_alert(rule, consumer, window, text=text, values=finding.values, moment=moment))
        return alerts

    def announcement(self, message: Mapping[str, Any], moment: Moment) -> list[Alert]:
        """Turn an announcement into the alerts of its rules.

        A test needs no rule, and what Prometheus found has its rule there.
        """
        fact = announced(message)
        if fact is None:
            return []
        if fact.kind == METRIC_ALERT:
            return [_metric_alert(fact, moment)]
        text = f"{fact.subject.removeprefix('dag:')}: {fact.text}"
        if fact.kind == "test":
            return [_test_alert(fact, text, moment)]
        if fact.kind == AUDIT_PASSED:
            return self._repaired(fact, text, moment)
        rules = [rule for rule in self._rules if rule.is_enabled and is_for(rule, fact)]
        self._remember_failed_audit(fact, rules, moment)
        alerts = [
            _alert(rule, fact.subject, fact.window, text=text, values=fact.values, moment=moment) for rule in rules
        ]
        # An audit that passed published its days, so its warnings are no more than that.
        return [replace(one, severity="warning") for one in alerts] if "warnings" in fact.values else alerts

    def _remember_failed_audit(self, fact: Announced, rules: Iterable[Rule], moment: Moment) -> None:
        for rule in rules:
            if isinstance(rule, FailedAudit) and "warnings" not in fact.values:
                state = RuleState(is_ringing=True, raised_us=moment.now_us)
                self._remember(key(rule.id, state_subject(fact)), state)

    def _repaired(self, fact: Announced, text: str, moment: Moment) -> list[Alert]:
        """End the alerts about failed audits of days that passed now."""
        alerts = []
        for rule in self._enabled(FailedAudit):
            ringing = [
                name for name, state in self._states.items() if state.is_ringing and is_repaired(name, rule, fact)
            ]
            for name in ringing:
                self._remember(name, replace(self._state(name), is_ringing=False))
            if ringing:
                resolved = f"resolved: {text}"
                made = _alert(rule, fact.subject, fact.window, text=resolved, values=fact.values, moment=moment)
                alerts.append(replace(made, severity="info"))
        return alerts

    def _candle_rules(self, stream: CandleStream) -> Iterator[CandleRule]:
        for rule in self._rules:
            if not isinstance(rule, PriceMove | VolumeSpike):
                continue
            if rule.is_enabled and rule.applies_to(stream.market, stream.symbol):
                yield rule

    def _enabled(self, kind: type[R]) -> list[R]:
        return [rule for rule in self._rules if isinstance(rule, kind) and rule.is_enabled]

    def _calm_all_but(self, rule: GapOpen, subjects: Iterable[str], now_us: int) -> None:
        """End the ringing about streams that have no open gap any more."""
        with_gap = {key(rule.id, subject) for subject in subjects}
        ringing = [name for name, state in self._states.items() if state.is_ringing and name not in with_gap]
        for name in ringing:
            if name.startswith(f"{rule.id}/"):
                self._rings(rule, name, now_us, RuleFinding(False, True, "", {}))

    def _rings(self, rule: Rule, name: str, at_us: int, finding: RuleFinding) -> bool:
        state, rings = judge(
            self._state(name), at_us, rule.cooldown_minutes, is_over=finding.is_over, is_calm=finding.is_calm
        )
        self._remember(name, state)
        return rings

    def _state(self, name: str) -> RuleState:
        return self._states.get(name, RuleState())

    def _remember(self, name: str, state: RuleState) -> None:
        if state != self._state(name):
            self._states[name] = self.changed[name] = state


def _alert(rule: Rule, subject: str, window: str, *, text: str, values: Mapping[str, str], moment: Moment) -> Alert:
    return Alert(
        rule=rule.id,
        kind=rule.kind,
        severity=rule.severity,
        subject=subject,
        window=window,
        raised_at_us=moment.now_us,
        summary=_sentence(text, moment),
        values={**values, "runbook": page_path(PAGES[rule.kind])},
        is_simulated=moment.is_simulated,
    )


def _test_alert(fact: Announced, text: str, moment: Moment) -> Alert:
    return Alert("test", "test", "info", fact.subject, fact.window, moment.now_us, _sentence(text, moment), fact.values)


def _metric_alert(fact: Announced, moment: Moment) -> Alert:
    """Return an alert of Prometheus; that it is over is information, whatever it was about."""
    severity = fact.values["severity"] if fact.values["severity"] in SEVERITIES else "warning"
    severity = "info" if fact.values["state"] == "resolved" else severity
    text = _sentence(fact.text.rstrip("."), moment)
    name = fact.values["alert"]
    return Alert(name, METRIC_ALERT, severity, fact.subject, fact.window, moment.now_us, text, fact.values)


def _sentence(text: str, moment: Moment) -> str:
    return f"SIMULATED: {text}." if moment.is_simulated else f"{text}."
