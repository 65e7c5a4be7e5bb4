from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tickhouse.alerts.status_rules import open_gaps
from tickhouse.metrics import figures
from tickhouse.metrics.figures import KINDS, Figure
from tickhouse.status.kafka import KafkaOffsets
from tickhouse.stream.query_state import QueryState

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OFFSETS = KafkaOffsets(
    begins={"crypto.trades": {0: 10, 1: 0}, "dlq.spark": {0: 2}},
    ends={"crypto.trades": {0: 100, 1: 50}, "dlq.spark": {0: 5}},
    consumers={"stream:candles": {"crypto.trades": {0: 90, 1: 50}}},
    newest_ms={},
)


def values(found: Any) -> dict[tuple[str, ...], float]:
    return {(one.name, *one.labels): one.value for one in found}


def test_kafka_gives_positions_lags_and_dead_letters() -> None:
    assert values(figures.kafka_figures(OFFSETS, ["crypto.trades"])) == {
        ("topic_written_records", "crypto.trades"): 150,
        ("topic_written_records", "dlq.spark"): 5,
        ("topic_records", "crypto.trades"): 140,
        ("topic_records", "dlq.spark"): 3,
        ("dead_letters", "dlq.spark"): 3,
        ("consumer_read_records", "stream:candles"): 140,
        ("consumer_lag_records", "stream:candles"): 10,
    }


def gap(symbol: str, state: str, first: int, last: int, minutes: int) -> dict[str, Any]:
    detected = int((NOW - timedelta(minutes=minutes)).timestamp() * 1e6)
    names = {"market": "spot", "symbol": symbol, "stream": "trade", "state": state}
    return names | {"first_id": first, "last_id": last, "detected_at_us": detected}


def test_gaps_of_all_symbols_are_added_and_the_oldest_counts() -> None:
    gaps = [
        gap("BTCUSDT", "open", 1, 10, 5),
        gap("BTCUSDT", "closed", 50, 60, 90),
        gap("ETHUSDT", "open", 1, 1, 7),
    ]

    found = values(figures.gap_figures(gaps, open_gaps(gaps).values(), int(NOW.timestamp() * 1e6)))

    assert found == {("gaps_open_ids", "spot", "trade"): 11, ("gaps_oldest_age_seconds", "spot", "trade"): 420}


def test_a_stream_whose_gaps_are_closed_has_zeros() -> None:
    gaps = [gap("BTCUSDT", "closed", 1, 10, 5)]

    found = values(figures.gap_figures(gaps, [], int(NOW.timestamp() * 1e6)))

    assert found == {("gaps_open_ids", "spot", "trade"): 0, ("gaps_oldest_age_seconds", "spot", "trade"): 0}


@pytest.mark.parametrize(("state", "has_batch"), [("active", True), ("stopped", False)])
def test_the_last_batch_of_a_query_that_does_not_run_is_left_out(state: str, has_batch: bool) -> None:
    query = QueryState("candles", "crypto.trades", state, "", "", "", 2, ("range",))
    reported = {"candles": {"duration_ms": {"triggerExecution": 1500}, "records": 70}}

    found = values(figures.query_figures([query], reported))

    assert found[("query_active", "candles")] == (state == "active")
    assert found[("query_failures", "candles")] == 2
    assert found[("query_lost_ranges", "candles")] == 1
    assert (("query_batch_seconds", "candles") in found) == has_batch
    assert found.get(("query_batch_seconds", "candles"), 1.5) == 1.5


@pytest.mark.parametrize(("seconds", "age"), [(30, 0.0), (60, 0.0), (90, 30.0)])
def test_a_candle_is_as_old_as_the_end_of_its_minute(seconds: int, age: float) -> None:
    section = {"newest_bar": NOW - timedelta(seconds=seconds)}

    assert values(figures.candle_figures(section, NOW.timestamp())) == {
        ("event_age_seconds", "postgres", "candles"): age
    }


def test_a_store_without_events_has_no_age() -> None:
    assert values(figures.store_figures("redis", {"newest_trade_time_age_s": None})) == {}


def test_an_audit_gives_age_and_result() -> None:
    section = {"age_s": 5, "main_age_s": 70, "newest_audit": {"age_s": 60, "is_passed": False, "report": ""}}

    assert values(figures.lake_figures(section)) == {
        ("lake_commit_age_seconds", "ingest"): 5,
        ("lake_commit_age_seconds", "main"): 70,
        ("audit_age_seconds",): 60,
        ("audit_passed",): 0,
    }


def test_figures_of_several_stores_make_one_family() -> None:
    found = [Figure("store_up", 1, ("kafka",)), Figure("disk_free_bytes", 7), Figure("store_up", 0, ("redis",))]

    families = [*figures.families(found)]

    assert [one.name for one in families] == ["tickhouse_store_up", "tickhouse_disk_free_bytes"]
    assert [(sample.labels, sample.value) for sample in families[0].samples] == [
        ({"store": "kafka"}, 1),
        ({"store": "redis"}, 0),
    ]


def test_names_follow_the_grammar_of_prometheus() -> None:
    assert all(name.islower() and not name.endswith("_total") for name in KINDS)
