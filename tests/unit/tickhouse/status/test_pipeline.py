"""Each section of the status is read by itself; one that is down hides no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.settings import Settings
from tickhouse.status.pipeline import pipeline_status, producer_section


def test_every_section_reports_what_is_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))  # a stack of this clone may have stores that take part
    monkeypatch.setattr("tickhouse.status.pipeline.ports", lambda: {"producer_metrics": 1})
    nowhere = "127.0.0.1:1"
    settings = Settings(
        kafka_bootstrap_servers=nowhere,
        database_url=f"postgresql://{nowhere}/tickhouse",
        redis_url=f"redis://{nowhere}/0",
        lakefs_endpoint=f"http://{nowhere}",
    )

    sections = pipeline_status(settings)
    queries = sections.pop("stream")  # files alone: no server has to answer

    assert set(queries["query"].values()) == {"stopped"}
    assert sections.pop("producer") == {"is_running": False}
    assert {name: section["error"]["type"] for name, section in sections.items()} == {
        "kafka": "ServiceNotReady",
        "candles": "StoreUnavailable",
        "alerts": "StoreUnavailable",
        "latest": "StoreUnavailable",
        "lake": "ServiceNotReady",
    }


METRICS = """
tickhouse_producer_connections 2.0
tickhouse_producer_last_event_age_seconds NaN
tickhouse_producer_gaps_open_ids 7.0
tickhouse_producer_events_total{market="usdm",outcome="delivered",stream="aggTrade"} 5.0
tickhouse_producer_silent_stream_seconds{market="usdm",stream="aggTrade",symbol="BTCUSDT"} 61.25
tickhouse_producer_refused_stream{market="usdm",stream="aggTrade",symbol="GONEUSDT"} -1121.0
tickhouse_producer_rest_weight_this_minute 40.0
tickhouse_producer_rest_weight_limit 2400.0
"""


def test_the_producer_names_its_silent_and_refused_streams() -> None:
    families = text_string_to_metric_families(METRICS)

    section = producer_section([sample for family in families for sample in family.samples])

    assert section["silent_streams"] == {"usdm/BTCUSDT/aggTrade": 61.2}
    assert section["refused_streams"] == {"usdm/GONEUSDT/aggTrade": -1121}
    assert (section["last_event_age_s"], section["gaps_open_ids"], section["connections"]) == (None, 7, 2)
    assert (section["rest_weight_this_minute"], section["rest_weight_limit"]) == (40, 2400)
