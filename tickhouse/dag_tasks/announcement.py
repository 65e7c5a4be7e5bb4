"""The last task of the DAGs that people start or that run once a day.

It runs only after a failure. DAGs that run every minute or two have none, because each of their
runs would send a message while a store is down. Metrics watch those (`LakeCommitOld`,
`ConnectorDown`), and each outage gives one alert.
"""

from __future__ import annotations

from typing import Any

from tickhouse.dag_tasks import failures
from tickhouse.dag_tasks.task import task


@task(trigger_rule="one_failed", task_id=failures.ANNOUNCE)
def announce(dag_run: Any, ti: Any) -> None:
    """Report the failed run on `crypto.alerts` and in its note, and fail the run."""
    failures.announce(dag_run, ti)
