"""The tasks of DAG `retention`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog

from common.settings import load_settings
from tickhouse.dag_tasks import alerts
from tickhouse.retention import run
from tickhouse.retention.policies import policies
from tickhouse.status.disk_history import record

log = structlog.get_logger("tickhouse.retention")


def apply() -> dict[str, Any]:
    """Apply retention to each store.

    Return per store its bytes, the number of steps done and the bytes they free.

    Raises:
        StoreUnavailable: A store did not answer; the others were handled.
    """
    settings = load_settings()
    record(settings.home)  # for the forecast of `tickhouse status`, also when nobody looks at it
    done = run.apply(settings, policies(settings), datetime.now(UTC), log.info)
    run.require_all_done(done)
    return {store.store: {"bytes": store.bytes, "done": store.done, "frees_bytes": store.frees} for store in done}


def announce(run_id: str) -> None:
    """Report the failed run on `crypto.alerts`, and fail."""
    alerts.announce_and_fail(load_settings(), "retention", run_id)
