"""Counts of the status that would take too long are given up."""

from __future__ import annotations

import pytest

from tests.integration.api.conftest import Api
from tickhouse.status import pipeline
from tickhouse.status.pipeline import candles

pytestmark = pytest.mark.integration


def test_a_count_of_candles_that_takes_long_is_an_estimate(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = candles(api.settings)
    assert counted["rows"] == sum(counted["by_stream"].values()) > 0

    monkeypatch.setattr(pipeline, "COUNT_S", 1)
    monkeypatch.setattr(pipeline, "COUNT_CANDLES", "SELECT '', count(*), 1 FROM generate_series(1, 1e12::bigint)")
    estimated = candles(api.settings)

    assert estimated["newest_bar"] == counted["newest_bar"]
    assert (estimated["is_estimated"], estimated.keys() & counted.keys()) == (True, {"rows", "newest_bar"})
    assert estimated["rows"] >= 0
