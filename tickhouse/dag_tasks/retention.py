"""The tasks of DAG `retention`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog

from common.settings import load_settings
from tickhouse.dag_tasks.run_report import RunReport
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
    freed = sum(store.frees for store in done) / 1e6
    stores = ", ".join(f"{store.store} {store.done}" for store in done if store.done) or "none"
    RunReport.current(settings).note(
        f"Retention did {sum(store.done for store in done)} steps in {len(done)} stores ({stores}) "
        f"and freed {freed:,.1f} MB."
    )
    return {store.store: {"bytes": store.bytes, "done": store.done, "frees_bytes": store.frees} for store in done}
