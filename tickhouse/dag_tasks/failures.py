"""Say why a run failed: in an alert, in the run's note, and in the log of its last task.

The process of a task that fails keeps the text of its error as an XCom (`keep_failure`). The last
task of the DAG, `announce`, runs only after a failure. It reads what was kept and sends one message
per run. It has retries, so the message survives a restart of Kafka, which a callback would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from common.clients.airflow import AirflowApi
from common.errors import AuditFailed
from common.settings import load_settings
from common.topics import ALERTS
from tickhouse.dag_tasks import alerts
from tickhouse.dag_tasks.notes import set_note

# Key of the XCom in which a failed task keeps why.
KEPT = "failure"
# A message and a note are read by people; the log and the report have all of it.
MOST_LAWS, MOST_CHARACTERS = 20, 600
ANNOUNCE = "announce"  # the task's id in every DAG
UNKNOWN = "it left no error: its process was killed or timed out, see its log"


def keep_failure(context: Any) -> None:
    """Keep why a task failed; Airflow calls it in the task's process after the last try."""
    if context["ti"].task_id == ANNOUNCE:
        return
    context["ti"].xcom_push(key=KEPT, value=failure_of(context.get("exception")))


def failure_of(error: BaseException | str | None) -> dict[str, Any]:
    """Return what to keep of an error: its text and, of an audit, laws, report and days (pure)."""
    audit = error if isinstance(error, AuditFailed) else getattr(error, "__cause__", None)
    text = " ".join(str(error or "").split())[:MOST_CHARACTERS] or UNKNOWN
    if not isinstance(audit, AuditFailed):
        return {"error": text}
    laws = [law[:MOST_CHARACTERS] for law in audit.broken[:MOST_LAWS]]
    if left := len(audit.broken) - len(laws):
        laws.append(f"and {left} more in the report")
    kept: dict[str, Any] = {"error": text, "laws": laws, "report": audit.report}
    return kept | (dict(zip(("from", "to"), audit.days, strict=True)) if audit.days else {})


def announce(dag_run: Any, ti: Any) -> None:
    """Report the failed run on `crypto.alerts` and in its note, and fail.

    It is the last task of its DAG, and Airflow takes the state of a run from the last task.

    Raises:
        AirflowFailException: Always, once the message is sent.
        StoreUnavailable: Airflow's API does not answer, or Kafka did not accept the message.
    """
    settings = load_settings()
    with AirflowApi(settings) as airflow:
        states = airflow.task_states(dag_run.dag_id, dag_run.run_id)
        failed = sorted(name for name, state in states.items() if state == "failed" and name != ANNOUNCE)
        found = {name: ti.xcom_pull(task_ids=name, key=KEPT) or {"error": UNKNOWN} for name in failed}
    task_id, failure = first_cause(found)
    set_note(settings, dag_run, note_of(task_id, failure))
    alerts.announce_failure(settings, dag_run.dag_id, dag_run.run_id, task_id, failure)
    raise AirflowFailException(
        f"Run {dag_run.run_id} failed in task {task_id}: {failure['error']} The message is on {ALERTS}."
    )


def first_cause(found: Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    """Return the task to report: one whose audit failed, else the first by name (pure)."""
    if not found:
        return "unknown", {"error": UNKNOWN}
    return min(found.items(), key=lambda item: (not item[1].get("report"), item[0]))


def note_of(task_id: str, failure: Mapping[str, Any]) -> str:
    """Return the note of a failed run (pure)."""
    if failure.get("report"):
        return "\n".join([f"Audit failed: {failure['report']}", *(f"- {law}" for law in failure.get("laws", ()))])
    return f"Failed in task {task_id}: {failure['error']}"
