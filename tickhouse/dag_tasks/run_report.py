"""What a task tells about its run: the run's note, links, asset events, and a line in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from airflow.sdk import Asset, get_current_context

from common.days import Days
from common.settings import Settings
from tickhouse.dag_tasks.assets import changes_of
from tickhouse.dag_tasks.links import KEPT_LINKS
from tickhouse.dag_tasks.notes import set_note

log = structlog.get_logger("tickhouse.dag_tasks")


class RunReport:
    """What a task tells about its run.

    Args:
        settings: Address and login of Airflow.
        context: Airflow's context of the task.
    """

    def __init__(self, settings: Settings, context: Mapping[str, Any]) -> None:
        self._settings = settings
        self._context = context

    @classmethod
    def current(cls, settings: Settings) -> RunReport:
        """Return the report of the task that runs in this process."""
        context: Any = get_current_context()
        return cls(settings, context)

    @property
    def run(self) -> Any:
        """Return Airflow's run."""
        return self._context["dag_run"]

    def say(self, sentence: str) -> None:
        """Write one line to the log of the task."""
        log.info(sentence)

    def note(self, text: str) -> None:
        """Set the note of the run, which Airflow shows, and write the text to the task's log."""
        self.say(text)
        set_note(self._settings, self.run, text)

    def link(self, name: str, url: str) -> None:
        """Show a link at the task in Airflow; the task must declare the link (`links.py`)."""
        ti = self._context["ti"]
        kept = dict(ti.xcom_pull(task_ids=ti.task_id, key=KEPT_LINKS) or {})
        ti.xcom_push(key=KEPT_LINKS, value=kept | {name: url})

    def changed(self, asset: Asset, commit_id: str, of_days: Days | None = None, **more: Any) -> None:
        """Make an event of an asset, with the commit and the days that it is about.

        DAGs that are scheduled by the asset start after the task. The task must have
        `assets.changes_of(asset)` as its outlet.
        """
        extra: dict[str, Any] = {"commit": commit_id, **more}
        if of_days is not None:
            extra |= {"from": str(of_days.first), "to": str(of_days.last)}
        self._context["outlet_events"][changes_of(asset)].add(asset, extra=extra)


def short(commit_id: str) -> str:
    """Return a commit id as people read it: its first 12 digits, which lakeFS accepts too."""
    return commit_id[:12]
