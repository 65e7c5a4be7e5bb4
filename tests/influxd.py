"""Wait for influxd, which `make setup` builds in the background, or skip and say why."""

from __future__ import annotations

import os
import threading
import time

import pytest

from common.errors import PrerequisiteMissing
from stack.engine.source_build import SourceBuild

BUILD = SourceBuild("stack/influxdb/build")
# How long after its start a build is awaited at most. The other tests of the session run meanwhile.
BUDGET_S = float(os.environ.get("TICKHOUSE_BUILD_BUDGET_S", "1200"))
# A build that compiles nothing for so long is not awaited: linking takes a minute.
STILL_S = 300.0
_PAUSE = threading.Event()


def require_influxd() -> None:
    """Return once influxd is in the cache; skip the test when it is not there in time."""
    try:
        BUILD.start()
    except PrerequisiteMissing as error:
        pytest.skip(str(error))
    steps, moved_at = -1, time.monotonic()
    while (found := BUILD.state()).state != "built":
        if BUILD.steps_done() != steps:
            steps, moved_at = BUILD.steps_done(), time.monotonic()
        is_over = BUILD.running_for_s() > BUDGET_S or time.monotonic() - moved_at > STILL_S
        if found.state == "failed" or is_over:
            pytest.skip(f"influxd is not built: {found.detail}")
        _PAUSE.wait(2.0)
