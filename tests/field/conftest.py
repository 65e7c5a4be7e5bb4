"""Fixtures of the tests with inputs that people reported in public."""

from __future__ import annotations

import pytest

from producer.exchange import connection
from producer.exchange import rest as rest_module


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the producer's limits, so that a test reaches them within seconds."""
    monkeypatch.setattr(rest_module, "MAX_BODY_BYTES", 1_000_000)
    monkeypatch.setattr(connection, "MESSAGE_PAUSE_S", 0.01)
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 5.0)
