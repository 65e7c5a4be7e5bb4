"""Deadlines of runs: when one is missed, Airflow's triggerer sends a message and the run goes on.

The time counts from when the run was queued. So a run that waits for an earlier one is late as
well, and a run for a day of the past is not late from its beginning, as it would be when counting
from its logical date.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from airflow.sdk import (  # type: ignore[attr-defined]  # the stub of Airflow 3.3 lacks them
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
)

from common.clients.airflow import FINAL
from common.settings import load_settings
from tickhouse.dag_tasks.alerts import announce_late


def deadline(after: timedelta) -> DeadlineAlert:
    """Return the deadline of a DAG's runs.

    Args:
        after: How long after it was queued a run should have ended.
    """
    minutes = int(after.total_seconds() // 60)
    callback = AsyncCallback(report_late, {"minutes": minutes})
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, after, callback, name=f"ends within {minutes} minutes")


async def report_late(minutes: int, context: Any) -> str:
    """Report a run that missed its deadline, unless it ended; return what was done.

    A run that failed in time keeps its deadline in Airflow. It has an alert of its own.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    run = context["dag_run"]
    if run["state"] in FINAL:
        return f"{run['dag_run_id']} has ended as {run['state']}"
    await asyncio.to_thread(announce_late, load_settings(), run["dag_id"], run["dag_run_id"], minutes)
    return f"{run['dag_run_id']} was reported"
