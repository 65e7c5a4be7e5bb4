"""The whole audit of a day, against a DuckDB scan of the columns that it reads."""

from __future__ import annotations

from bench.bench_stack import BenchStack
from bench.harness import Figures, at_most, compared, rounded, worker

BOUND = at_most(3)
TRADES, PAIRS = 5_000_000, 4


def run(bench: BenchStack) -> Figures:
    """Measure CPU seconds; the import of Great Expectations is reported separately."""
    trades, pairs = bench.sized(TRADES, 100_000), bench.sized(PAIRS, 2)
    folder = bench.file("lake")
    worker("audit", "lake", str(folder), str(trades))
    ours = worker("audit", "ours", str(folder), str(pairs + 1))
    floor = worker("audit", "scan", str(folder), str(pairs + 1))
    cpu = [(mine["cpu_s"], theirs["cpu_s"]) for mine, theirs in zip(ours["runs"][1:], floor["runs"][1:], strict=True)]
    return compared(
        cpu,
        "CPU s",
        import_cpu_s=rounded(ours["import_cpu_s"]),
        how=f"{trades} trades of 24 symbols over a day in bronze and silver, gold of them; ours: all laws of "
        "checkpoint lake in DuckDB, nine suites of Great Expectations, Data Docs; floor: min and max of every "
        "column of bronze, silver and 1m candles that a law reads, DuckDB, two threads; one run before on each side",
    )
