"""Waiting for the stores: what they lack, and what is reported when the timeout passes."""

from __future__ import annotations

import pytest

from common.errors import StoreUnavailable
from common.intervals import IntervalSet
from tickhouse.ingest.visibility import lacking, wait_visible


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def pause(self, seconds):
        self.now_s += seconds


def store(clock, ready_at_s, error=None):
    def probe():
        if error is not None:
            raise StoreUnavailable(error)
        return "" if clock.now_s >= ready_at_s else f"{ready_at_s - clock.now_s:g} missing"

    return probe


def test_the_wait_ends_when_every_store_has_all_records():
    clock = Clock()
    probes = {"postgres": store(clock, 3), "lake": store(clock, 7), "redis": store(clock, 0)}
    took = wait_visible(probes, timeout_s=30, pause=clock.pause, clock=clock)
    assert took == {"redis": 0.0, "postgres": 3.0, "lake": 7.0}


def test_stores_that_lag_are_named_with_what_they_lack():
    clock = Clock()
    probes = {"redis": store(clock, 0), "postgres": store(clock, 99), "lake": store(clock, 0, "lakeFS: refused")}
    with pytest.raises(StoreUnavailable) as caught:
        wait_visible(probes, timeout_s=5, pause=clock.pause, clock=clock)
    assert "postgres: 94 missing; lake: lakeFS: refused" in caught.value.message
    assert "redis" not in caught.value.message


def test_lacking_counts_ids():
    assert lacking(IntervalSet([(1, 4), (7, 8)]), [(1, 8), (20, 21)]) == 4
    assert lacking(IntervalSet(), []) == 0
