"""1m candles of ten million trades by the batch's Spark functions, against one DuckDB query."""

from __future__ import annotations

from typing import Any

from bench.bench_stack import BenchStack
from bench.harness import BenchmarkFailed, Figures, at_most, compared, rounded, worker

BOUND = at_most(8)
TRADES, PAIRS = 10_000_000, 4


def run(bench: BenchStack) -> Figures:
    """Measure CPU seconds of the process trees, after the session is up and one warm-up run."""
    trades, pairs = bench.sized(TRADES, 200_000), bench.sized(PAIRS, 2)
    folder = bench.file("silver")
    worker("generated", str(folder), str(trades))
    ours = worker("candles", "spark", str(folder), str(pairs + 1))
    floor = worker("candles", "duckdb", str(folder), str(pairs + 1))
    _require_equal(ours["runs"] + floor["runs"])
    cpu = [(mine["cpu_s"], theirs["cpu_s"]) for mine, theirs in zip(ours["runs"][1:], floor["runs"][1:], strict=True)]
    first = ours["runs"][0]["cpu_s"], floor["runs"][0]["cpu_s"]
    return compared(
        cpu,
        "CPU s",
        first_run_cpu_s={"ours": rounded(first[0]), "floor": rounded(first[1])},
        ratio_of_first_runs=rounded(first[0] / first[1]),
        peak_rss_mib={"ours": ours["peak_rss_mib"], "floor": floor["peak_rss_mib"]},
        how=f"{trades} trades of 24 symbols over a day in 24 files of silver; ours: read_minute_bars (partial bars by "
        "Arrow in two tasks, merged by Spark) to Arrow, CPU of driver, JVM and Python workers after the session was up "
        "and one run before; floor: GROUP BY in DuckDB with two threads; both give the same rows, trades and exact "
        "volume; first runs and peak memory reported",
    )


def _require_equal(runs: list[dict[str, Any]]) -> None:
    answers = {(run["rows"], run["trades"], run["volume"]) for run in runs}
    if len(answers) != 1:
        raise BenchmarkFailed(f"Expected the same candles from both sides, was {sorted(answers)}.")
