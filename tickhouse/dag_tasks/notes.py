"""The note of a run, which Airflow shows beside it."""

from __future__ import annotations

from typing import Any, Final

import structlog

from common.clients.airflow import AirflowApi
from common.errors import StoreUnavailable
from common.settings import Settings

# Airflow accepts notes of at most this many characters.
MAX_NOTE_LENGTH: Final = 1000
log = structlog.get_logger("tickhouse.dag_tasks")


def set_note(settings: Settings, dag_run: Any, text: str) -> None:
    """Set the note of a run.

    A note never decides whether data is right. So when Airflow's API does not take it, this is
    logged, and the task goes on.
    """
    try:
        with AirflowApi(settings) as airflow:
            airflow.note(dag_run.dag_id, dag_run.run_id, text[:MAX_NOTE_LENGTH])
    except StoreUnavailable as error:
        log.warning("the note of the run was not set", error=str(error))
