"""Judge gaps, lags of consumers, and announcements of runs: pure functions over their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from tickhouse.alerts.alert import iso
from tickhouse.alerts.candle_rules import RuleFinding
from tickhouse.alerts.rules import FailedAudit, FailedRun, GapOpen, Rule, StoreBehind
from tickhouse.alerts.state import MINUTE_US, RuleState

# Kind of what Alertmanager hands over (`receiver.py`), and of the alert that becomes of it.
METRIC_ALERT = "metric_alert"

# Kind of the announcement that ends the alert about a failed audit.
AUDIT_PASSED = "audit_passed"

# Consumers whose lag says nothing about a store: those of the alerts themselves.
OWN_CONSUMERS = ("tickhouse-alert-watcher", "tickhouse-alert-bridge")


class OpenGap(NamedTuple):
    """The oldest open gap of a stream, and how many ids are missing in all of its open gaps."""

    market: str
    symbol: str
    stream: str
    first_id: int
    detected_us: int
    ids: int

    @property
    def subject(self) -> str:
        """Return the subject of its alerts."""
        return f"{self.market}:{self.symbol}:{self.stream}"


def open_gaps(values: Iterable[Mapping[str, Any]]) -> dict[str, OpenGap]:
    """Return the oldest open gap of each stream, by subject.

    Args:
        values: The latest values of topic `crypto.gaps`.
    """
    found: dict[str, OpenGap] = {}
    for gap in values:
        if gap["state"] != "open":
            continue
        names = (gap["market"], gap["symbol"], gap["stream"])
        ids = gap["last_id"] - gap["first_id"] + 1
        one = OpenGap(*names, gap["first_id"], gap["detected_at_us"], ids)
        other = found.get(one.subject, one)
        oldest = min(one, other, key=lambda gap: (gap.detected_us, gap.first_id))
        found[one.subject] = oldest if other is one else oldest._replace(ids=one.ids + other.ids)
    return found


def gap_finding(rule: GapOpen, gap: OpenGap, now_us: int) -> RuleFinding:
    """Judge the oldest open gap of a stream."""
    minutes = (now_us - gap.detected_us) // MINUTE_US
    values = {"first_id": str(gap.first_id), "ids": str(gap.ids), "minutes": str(minutes)}
    text = f"{gap.ids:,} ids from {gap.first_id} are missing for {minutes} minutes"
    return RuleFinding(minutes >= rule.minutes, False, text, values)


def lag_finding(rule: StoreBehind, records: int, state: RuleState, now_us: int) -> tuple[RuleFinding, RuleState]:
    """Judge the lag of one consumer; the state remembers since when it is behind."""
    is_behind = records > rule.records
    since_us = (state.since_us or now_us) if is_behind else None
    minutes = (now_us - (since_us or now_us)) // MINUTE_US
    text = f"has {records:,} records to read, more than {rule.records:,} for {minutes} minutes"
    values = {"records": str(records), "minutes": str(minutes), "since": iso(since_us) if since_us else ""}
    finding = RuleFinding(is_behind and minutes >= rule.minutes, not is_behind, text, values)
    return finding, RuleState(state.is_ringing, state.raised_us, since_us)


class Announced(NamedTuple):
    """What an announcement says: kind of rule, subject, window, sentence and figures."""

    kind: str
    subject: str
    window: str
    text: str
    values: dict[str, str]


def announced(message: Mapping[str, Any]) -> Announced | None:
    """Return what an announcement of Airflow or of `alerts test` says; None for another kind.

    The last task of a DAG announces `run_failed`, with the failed task and its error; of a failed
    audit also the laws and the report. The triggerer announces `run_late`; DAGs with an audit
    announce `audit_passed`, the nightly batch `audit_warned` and `nights_missed`.
    """
    kind, run_id = message["kind"], str(message.get("run_id", ""))
    if kind in _OTHERS:
        return _OTHERS[kind](message)
    if kind not in ("run_failed", "run_late", AUDIT_PASSED, "audit_warned") or not run_id:
        return None
    dag, report = str(message.get("dag", "")), str(message.get("report", ""))
    values = {"dag": dag, "run_id": run_id, "run": str(message.get("run", "")), "report": report}
    values |= {name: str(message[name]) for name in ("from", "to", "task", "error", "minutes") if name in message}
    subject = f"dag:{dag}"
    if kind == AUDIT_PASSED:
        return Announced(AUDIT_PASSED, subject, f"{run_id}/passed", f"the audit passed in run {run_id}", values)
    if kind == "audit_warned":
        warnings = ", ".join(map(str, message.get("warnings", ())))
        text = f"the audit passed with warnings: {warnings}"
        return Announced("audit_failed", subject, f"{run_id}/warned", text, values | {"warnings": warnings})
    return _unfinished(subject, run_id, message, values)


def _unfinished(subject: str, run_id: str, message: Mapping[str, Any], values: dict[str, str]) -> Announced:
    """Return what the message about a failed or late run says."""
    if message["kind"] == "run_late":
        text = f"run {run_id} has not ended within {values.get('minutes', '?')} minutes; it goes on"
        return Announced("run_failed", subject, f"{run_id}/late", text, values)
    if not values["report"]:
        return Announced("run_failed", subject, run_id, f"run {run_id} failed{_where(values)}", values)
    laws = [str(law).rstrip(".") for law in message.get("laws", ())]
    broken = f" broke {len(laws)} laws: {'; '.join(laws)}" if laws else " failed"
    text = f"the audit in run {run_id}{broken}. Report: {values['report']}"
    return Announced("audit_failed", subject, run_id, text, values | {"laws": "; ".join(laws)})


def _where(values: Mapping[str, str]) -> str:
    """Return in which task a run failed, and why; empty when the message does not say it."""
    if not values.get("task"):
        return ""
    return f" in task {values['task']}: {values.get('error', '')}".rstrip(". ")


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that say what an alert is about.

    Prometheus adds to each series which process it scraped. That says something only where there is
    nothing else, as in TargetDown.
    """
    return {name: value for name, value in labels.items() if name not in ("instance", "job")} or dict(labels)


def _of_metrics(message: Mapping[str, Any]) -> Announced:
    """Return what Prometheus found; its rule is in observe/prometheus/rules and not among ours."""
    labels = {str(name): str(value) for name, value in message.get("labels", {}).items()}
    own = own_labels(labels)
    subject = ",".join(f"{name}={own[name]}" for name in sorted(own)) or str(message.get("alert", ""))
    names = ("alert", "state", "severity", "starts_at", "description", "runbook")
    values = {name: str(message.get(name, "")) for name in names}
    is_resolved = values["state"] == "resolved"
    text = f"{'resolved: ' if is_resolved else ''}{message.get('summary', '') or values['alert']}"
    return Announced(METRIC_ALERT, subject, f"{values['starts_at']}/{values['state']}", text, values | labels)


def _missed(message: Mapping[str, Any]) -> Announced:
    dag, days = str(message.get("dag", "")), ", ".join(map(str, message.get("days", ())))
    values = {"dag": dag, "days": days, "runs": ", ".join(map(str, message.get("runs", ())))}
    return Announced("run_failed", f"dag:{dag}", f"missed {days}", f"no run for {days}; runs were started", values)


def _test(message: Mapping[str, Any]) -> Announced:
    sender, text = str(message.get("by", "")), str(message.get("text", "")) or "a test of the alerts"
    return Announced("test", "test", str(message.get("test_id", "")), text, {"by": sender})


# How to read the announcements that are not about a run.
_OTHERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Announced]]] = {
    "test": _test,
    "nights_missed": _missed,
    METRIC_ALERT: _of_metrics,
}


def state_subject(fact: Announced) -> str:
    """Return what a rule remembers a failed audit by: its DAG and the audited days."""
    return f"{fact.subject}/{fact.values.get('from', '')}/{fact.values.get('to', '')}"


def is_repaired(name: str, rule: FailedAudit, fact: Announced) -> bool:
    """Return whether an audit that passed covers the days of a state of a rule.

    Args:
        name: Key of the state, of `state_subject`.
        rule: The rule.
        fact: The audit that passed.
    """
    prefix = f"{rule.id}/{fact.subject}/"
    first, _, rest = name.removeprefix(prefix).partition("/")
    last = rest.partition("/")[0]
    # Dates in ISO 8601 sort as text.
    return name.startswith(prefix) and fact.values.get("from", "~") <= first and last <= fact.values.get("to", "")


def is_for(rule: Rule, fact: Announced) -> bool:
    """Return whether a rule is about what was announced."""
    if isinstance(rule, FailedAudit):
        return fact.kind == rule.kind and (rule.with_warnings or "warnings" not in fact.values)
    if isinstance(rule, FailedRun):
        return fact.kind == rule.kind and (not rule.dags or fact.values["dag"] in rule.dags)
    return False
