"""What the tasks of a test tell about their run."""

from __future__ import annotations

import pytest

from tests.unit.tickhouse.dag_tasks.contexts import ToldRun, told_run


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> ToldRun:
    return told_run(monkeypatch)
