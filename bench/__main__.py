"""`python -m bench [NAME…] [--quick] [--list]`: measure and write bench/latest.json.

The exit code is 1 when a benchmark missed its bound or failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.bench_stack import BenchStack, temporary_stack
from bench.harness import BenchmarkFailed, Bound, Figures, OtherCpu, load_1m, machine, merged, say
from common.errors import TickhouseError
from common.settings import REPO
from stack.engine.supervisor import supervisor_pid

LATEST = Path(__file__).with_name("latest.json")
NAMES = (
    "producer_cpu",
    "producer_vs_perf_tool",
    "frames_vs_cryptofeed",
    "spark_parquet",
    "pipeline_cpu",
    "postgres_upsert",
    "influx_write",
    "ids_that_skip",
    "lake_put",
    "freshness_p95_s",
    "influx_freshness_p95_s",
    "burst",
    "connect_mongodb",
    "connect_elasticsearch",
    "connect_cassandra",
    "connect_freshness_p95_s",
    "geode_put",
    "neo4j_sync",
    "nightly_candles",
    "audit",
    "api_candles",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks (default: all); return 1 when one missed its bound or failed."""
    options = _parser().parse_args(arguments)
    names = options.names or list(NAMES)
    if unknown := sorted(set(names) - set(NAMES)):
        _parser().error(f"expected names of {', '.join(NAMES)}, was {', '.join(unknown)}")
    if options.list:
        for name in names:
            module = importlib.import_module(f"bench.{name}")
            print(f"{name:24}{module.BOUND!s:10}{(module.__doc__ or '').splitlines()[0]}")
        return 0
    results: dict[str, Any] = {}
    with temporary_stack(is_quick=options.quick) as bench:
        for name in names:
            results[name] = measured(name, bench)
            _write({name: results[name]})
    for name, result in results.items():
        say(line_of(name, result))
    return 0 if all(result["ok"] for result in results.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure against the floor of this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks, default all")
    parser.add_argument("--quick", action="store_true", help="small sizes: only tests that the benchmarks run")
    parser.add_argument("--list", action="store_true", help="list the benchmarks with their bounds")
    return parser


def measured(name: str, bench: BenchStack) -> Figures:
    """Run one benchmark and return its result; a failure is a result that is not ok."""
    module = importlib.import_module(f"bench.{name}")
    bound: Bound = module.BOUND
    say(f"{name} ({bound})")
    began, load = time.monotonic(), load_1m()
    others = OtherCpu(lambda: [pid for pid in (os.getpid(), supervisor_pid()) if pid])
    try:
        figures: Figures = module.run(bench)
        ok = bound.holds(figures["ratio"]) and not figures.pop("failed", False)
    except (TickhouseError, subprocess.TimeoutExpired) as error:
        say(f"    failed: {error}")
        figures, ok = {"ours": None, "floor": None, "ratio": None, "unit": "", "note": str(error)[:2000]}, False
    return {
        **figures, "bound": str(bound), "ok": ok, "is_quick": bench.is_quick, "machine": machine(),
        "load_1m": [load, load_1m()], "other_busy_cores": others.cores(), "seconds": round(time.monotonic() - began),
        "commit": _commit(), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip


def _commit() -> str:
    command = ["git", "-C", str(REPO), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def line_of(name: str, result: Figures) -> str:
    """Return a result as one line of text."""
    if result["ratio"] is None:
        return f"{name:24}FAILED  {result['note'].splitlines()[0][:120]}"
    mark = "ok" if result["ok"] else "MISSED"
    figures = f"ours {result['ours']} floor {result['floor']} {result['unit']}"
    return f"{name:24}{mark:8}ratio {result['ratio']} (bound {result['bound']})  {figures}"


def _write(results: dict[str, Any]) -> None:
    """Merge results into bench/latest.json; the results of other benchmarks stay."""
    old = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    LATEST.write_text(json.dumps(merged(old, results), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkFailed as error:
        say(str(error))
        sys.exit(1)
