"""Ratios, bounds, percentiles and the results file of the benchmarks, without a server."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

import bench.__main__ as cli
from bench import burst
from bench.bench_stack import BenchStack
from bench.harness import BenchmarkFailed, at_least, at_most, compared, merged, percentile, tree_cpu_s, worker
from bench.harness import alternate as taking_turns


def test_sides_take_turns_and_change_who_begins():
    order = []
    pairs = taking_turns(3, lambda: order.append("A") or len(order), lambda: order.append("B") or len(order))
    assert "".join(order) == "ABBAAB"
    assert pairs == [(1, 2), (4, 3), (5, 6)]


def test_the_ratio_is_the_median_of_the_pairs_not_the_ratio_of_medians():
    figures = compared([(1.0, 2.0), (30.0, 10.0), (4.0, 4.0)], "x", how="so")
    assert (figures["ours"], figures["floor"], figures["ratio"]) == (4.0, 4.0, 1.0)
    assert figures["ratios"] == [0.5, 3.0, 1.0]
    assert (figures["unit"], figures["how"]) == ("x", "so")


def test_bounds():
    assert at_most(1.35).holds(1.35)
    assert not at_most(1.35).holds(1.36)
    assert at_least(0.6).holds(0.6)
    assert not at_least(0.6).holds(0.59)
    assert not at_most(1).holds(math.nan)
    assert not at_least(1).holds(math.nan)


def test_percentiles_are_nearest_ranks():
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile([7.0], 50) == 7.0
    assert percentile([1.0, math.inf], 95) == math.inf
    assert math.isnan(percentile([], 95))


def test_later_results_replace_earlier_ones_of_that_name_only():
    assert merged({"b": 1, "c": 2}, {"a": 3, "b": 4}) == {"a": 3, "b": 4, "c": 2}


def test_cpu_of_children_that_ended_counts():
    before = tree_cpu_s(os.getpid())
    subprocess.run([sys.executable, "-c", "sum(range(6_000_000))"], check=True)
    assert tree_cpu_s(os.getpid()) > before + 0.05


def test_a_worker_that_fails_gives_no_figure(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no such thing')")
    with pytest.raises(BenchmarkFailed, match="no such thing"):
        worker("broken", script=script)
    script.write_text("pass")
    with pytest.raises(BenchmarkFailed, match="ended with 0"):
        worker("broken", script=script)


@pytest.fixture
def latest(tmp_path, monkeypatch):
    path = tmp_path / "latest.json"
    monkeypatch.setattr(cli, "LATEST", path)
    return path


def test_a_benchmark_that_fails_misses_its_bound_and_gives_the_reason(monkeypatch, tmp_path):
    def fails(bench):
        raise BenchmarkFailed("cryptofeed cannot be installed")

    monkeypatch.setattr(burst, "run", fails)
    result = cli.measured("burst", BenchStack(tmp_path))
    assert (result["ok"], result["ratio"], result["note"]) == (False, None, "cryptofeed cannot be installed")
    assert "FAILED" in cli.line_of("burst", result)


@pytest.mark.parametrize(("ratio", "failed", "is_ok"), [(0.0, False, True), (1.0, False, False), (0.0, True, False)])
def test_a_result_contains_whether_its_bound_held(monkeypatch, tmp_path, ratio, failed, is_ok):
    figures = {"ours": 1, "floor": 0, "ratio": ratio, "unit": "x", "failed": failed}
    monkeypatch.setattr(burst, "run", lambda bench: dict(figures))
    result = cli.measured("burst", BenchStack(tmp_path))
    assert result["ok"] is is_ok
    assert {"machine", "load_1m", "other_busy_cores", "commit", "at", "bound"} <= result.keys()
    assert ("MISSED" in cli.line_of("burst", result)) is not is_ok


def test_results_of_benchmarks_that_were_not_run_stay(latest):
    latest.write_text(json.dumps({"burst": {"ratio": 0}, "other": {"ratio": 1}}))
    cli._write({"burst": {"ratio": 2}})
    assert json.loads(latest.read_text()) == {"burst": {"ratio": 2}, "other": {"ratio": 1}}


def test_the_list_names_every_benchmark_and_its_bound(capsys):
    assert cli.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(cli.NAMES)
    bounds = {line.split()[0]: " ".join(line.split()[1:3]) for line in lines}
    assert bounds == {
        "producer_cpu": "<= 1.35",
        "producer_vs_perf_tool": ">= 0.3",
        "frames_vs_cryptofeed": ">= 0.5",
        "spark_parquet": ">= 0.6",
        "pipeline_cpu": "<= 9",
        "postgres_upsert": ">= 0.6",
        "ids_that_skip": ">= 0.7",
        "lake_put": ">= 0.7",
        "freshness_p95_s": "<= 1",
        "influx_freshness_p95_s": "<= 1",
        "burst": "<= 0",
        "connect_mongodb": ">= 0.5",
        "connect_elasticsearch": ">= 0.5",
        "connect_cassandra": ">= 0.5",
        "connect_freshness_p95_s": "<= 1",
        "influx_write": ">= 0.6",
        "geode_put": ">= 0.5",
        "neo4j_sync": ">= 0.6",
        "nightly_candles": "<= 8",
        "audit": "<= 3",
        "api_candles": "<= 3",
    }


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["producer_cpu", "nonsense"])
    assert exit_.value.code == 2
    assert "nonsense" in capsys.readouterr().err
