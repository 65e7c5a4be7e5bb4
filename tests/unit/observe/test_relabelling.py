"""The names that Prometheus gives to the metrics of Spark, applied as Prometheus does."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from common.settings import REPO

TEMPLATE = (REPO / "stack" / "prometheus" / "prometheus.yml.j2").read_text()
RULES: list[dict[str, Any]] = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "1", TEMPLATE))["scrape_configs"][0][
    "metric_relabel_configs"
]
DRIVER = "metrics_tickhouse_stream_driver"


def relabelled(name: str) -> dict[str, str] | None:
    """Return the labels of a metric after all rules; None when it is dropped."""
    labels = {"__name__": name}
    for rule in RULES:
        found = re.fullmatch(rule["regex"], ";".join(labels.get(one, "") for one in rule["source_labels"]))
        if found and rule.get("action") == "drop":
            return None
        if found:
            labels[rule["target_label"]] = found.expand(rule["replacement"].replace("$1", r"\1"))
    return labels


# The names are those that Spark 4.1 served with the settings of spark/conf.py.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{DRIVER}_spark_streaming_lake_trades_latency_Value", ("spark_streaming_latency_ms", "lake_trades")),
        (f"{DRIVER}_spark_streaming_last_inputRate_total_Value", ("spark_streaming_input_rate", "last")),
        (f"{DRIVER}_spark_streaming_last_processingRate_total_Value", ("spark_streaming_processing_rate", "last")),
        (f"{DRIVER}_ExecutorMetrics_JVMHeapMemory_Value", ("spark_jvm_heap_used_bytes", None)),
    ],
)
def test_the_query_becomes_a_label(name: str, expected: tuple[str, str | None]) -> None:
    labels = relabelled(name)

    assert labels is not None
    assert (labels["__name__"], labels.get("query")) == expected


@pytest.mark.parametrize(
    "name", [f"{DRIVER}_spark_streaming_last_latency_Number", f"{DRIVER}_CodeGenerator_compilationTime_Count"]
)
def test_the_rest_of_spark_is_dropped(name: str) -> None:
    assert relabelled(name) is None


@pytest.mark.parametrize("name", ["metrics_executor_rddBlocks", "tickhouse_store_up", "kafka_log_size_bytes"])
def test_others_keep_their_names(name: str) -> None:
    assert relabelled(name) == {"__name__": name}
