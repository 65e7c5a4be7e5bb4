"""An operator that runs another DAG and waits for it, with a time limit.

Airflow's own `TriggerDagRunOperator` waits forever when the other DAG is paused
(`execution_timeout` does not count while a task is deferred), and a retried task starts a second
run. This operator

1. fails without retries when the DAG is paused, also while it waits; the message has the command
   that unpauses it;
2. fails after `limit`;
3. starts a single run, no matter how often it is retried or killed, because the id of that run
   contains the id of the run that requested it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import structlog
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from common.clients.airflow import FINAL, AirflowApi
from common.errors import TransientError
from common.settings import load_settings
from tickhouse.dag_tasks.links import STARTED_RUN, run_url
from tickhouse.dag_tasks.run_report import RunReport
from tickhouse.dag_tasks.task import no_retry_on_terminal_error

EVERY_S = 3.0
# When the triggerer has died, the scheduler ends the task this much later than the trigger would
# have.
GRACE = timedelta(minutes=5)
log = structlog.get_logger("tickhouse.dag_tasks")
PAUSED, LATE = "paused", "late"


class RunDagOperator(BaseOperator):
    """Runs another DAG and waits, deferred, until its run succeeds.

    Args:
        dag_to_run: Id of the DAG.
        conf: Parameters of the run (templated).
        limit: How long to wait at most.
    """

    template_fields = ("conf",)
    operator_extra_links = (STARTED_RUN,)

    def __init__(self, *, dag_to_run: str, limit: timedelta, conf: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dag_to_run, self.limit, self.conf = dag_to_run, limit, conf or {}

    @no_retry_on_terminal_error
    def execute(self, context: Context) -> None:
        """Start the run, or find the one that an earlier try started, and wait for it.

        Raises:
            AirflowFailException: The DAG is paused.
            StoreUnavailable: Airflow's API does not answer.
        """
        own_run = context["dag_run"]
        settings = load_settings()
        with AirflowApi(settings) as airflow:
            airflow.require_unpaused(self.dag_to_run)
            # Airflow reserves ids that begin with `manual__`, `scheduled__` or `backfill__`.
            run_id = start_once(airflow, self.dag_to_run, f"asked__{own_run.dag_id}__{own_run.run_id}", self.conf)
        url = run_url(settings, self.dag_to_run, run_id)
        # Airflow stores links when the task ends; this one is wanted while the task waits.
        context["ti"].xcom_push(key=STARTED_RUN.xcom_key, value=url)
        log.info(f"Waiting for run {run_id} of {self.dag_to_run}: {url}")
        ends_at = time.time() + self.limit.total_seconds()
        self.defer(trigger=RunEnds(self.dag_to_run, run_id, ends_at), method_name="ended", timeout=self.limit + GRACE)

    def ended(self, context: Context, event: dict[str, str]) -> str:
        """Return the id of the run that succeeded.

        Raises:
            AirflowFailException: It did not succeed. It is not started again, because its tasks had
                retries of their own.
        """
        run_id, state = event["run_id"], event["state"]
        RunReport(load_settings(), context).link(STARTED_RUN.name, run_url(load_settings(), self.dag_to_run, run_id))
        if state == "success":
            return run_id
        reasons = {
            PAUSED: f"{self.dag_to_run} was paused. Next: tickhouse dags unpause {self.dag_to_run}, then run again",
            LATE: f"run {run_id} of {self.dag_to_run} did not end within {self.limit}. It may still be active",
        }
        raise AirflowFailException(reasons.get(state, f"run {run_id} of {self.dag_to_run} ended as {state}") + ".")


def start_once(airflow: AirflowApi, dag_id: str, run_id: str, conf: dict[str, Any]) -> str:
    """Return the id of an unfinished or successful run with this id; start one when there is none.

    When a person clears a task that waited for a failed run, the failed run exists already. Then a
    new run is started, with a number appended to the id.
    """
    for number in range(1, 1000):
        name = run_id if number == 1 else f"{run_id}-{number}"
        state = airflow.run_state(dag_id, name)
        if state is None:
            return airflow.trigger(dag_id, conf, name)
        if state != "failed":
            return name
    raise AirflowFailException(f"{run_id} of {dag_id} failed 999 times.")


class RunEnds(BaseTrigger):
    """Fires when a run has ended, when its DAG is paused, or when the time is over.

    Args:
        dag_id: The DAG.
        run_id: The run.
        ends_at: When the time is over, in seconds since 1970, so that a restarted triggerer keeps
            it.
    """

    def __init__(self, dag_id: str, run_id: str, ends_at: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dag_id, self.run_id, self.ends_at = dag_id, run_id, ends_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        arguments = {"dag_id": self.dag_id, "run_id": self.run_id, "ends_at": self.ends_at}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check the run every few seconds.

        When Airflow's API does not answer, check again later.
        """
        while (state := await asyncio.to_thread(self.check_run)) is None:
            await asyncio.sleep(EVERY_S)
        yield TriggerEvent({"run_id": self.run_id, "state": state})  # type: ignore[no-untyped-call]

    def check_run(self) -> str | None:
        """Return the final state, `paused` or `late`; None while the run continues."""
        is_late = time.time() >= self.ends_at
        try:
            with AirflowApi(load_settings()) as airflow:
                state = airflow.run_state(self.dag_id, self.run_id)
                is_paused = airflow.paused().get(self.dag_id, False)
        except TransientError:
            return LATE if is_late else None
        if state in FINAL or state is None:
            return state or "removed"
        if is_paused:
            return PAUSED
        return LATE if is_late else None
