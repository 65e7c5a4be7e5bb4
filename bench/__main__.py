"""`python -m bench [NAME…] [--quick] [--list]`: measure, write bench/latest.json, exit 1 when a bound is missed."""

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

from bench.harness import BenchmarkFailed, Bound, Figures, OthersCpu, load_1m, machine, merged, say
from bench.stand import Stand, stand
from stack.engine.supervise import supervisor_pid
from tickhouse.errors import TickhouseError
from tickhouse.settings import REPO

LATEST = Path(__file__).with_name("latest.json")
NAMES = (
    "producer_cpu",
    "producer_vs_perf_tool",
    "frames_vs_cryptofeed",
    "spark_parquet",
    "postgres_upsert",
    "lake_put",
    "freshness_p95_s",
    "burst",
    "connect_mongodb",
    "connect_elasticsearch",
    "connect_cassandra",
    "connect_freshness_p95_s",
    "nightly_candles",
    "audit",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks (default: all); return 1 when one missed its bound or could not be taken."""
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
    with stand(is_quick=options.quick) as bench:
        for name in names:
            results[name] = measured(name, bench)
            _write({name: results[name]})
    for name, result in results.items():
        say(line_of(name, result))
    return 0 if all(result["ok"] for result in results.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure against the floor of this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks, default all")
    parser.add_argument("--quick", action="store_true", help="small sizes: tries the benchmarks, proves nothing")
    parser.add_argument("--list", action="store_true", help="list names, bounds and what is compared")
    return parser


def measured(name: str, bench: Stand) -> Figures:
    """Run one benchmark and return its result; a failure is a result too, and never ok."""
    module = importlib.import_module(f"bench.{name}")
    bound: Bound = module.BOUND
    say(f"{name} ({bound})")
    began, load = time.monotonic(), load_1m()
    others = OthersCpu(lambda: [pid for pid in (os.getpid(), supervisor_pid()) if pid])
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
    """Return a result as one line for a person."""
    if result["ratio"] is None:
        return f"{name:24}FAILED  {result['note'].splitlines()[0][:120]}"
    mark = "ok" if result["ok"] else "MISSED"
    figures = f"ours {result['ours']} floor {result['floor']} {result['unit']}"
    return f"{name:24}{mark:8}ratio {result['ratio']} (bound {result['bound']})  {figures}"


def _write(results: dict[str, Any]) -> None:
    """Put results into bench/latest.json; those of benchmarks that were not run stay, each says when it was taken."""
    old = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    LATEST.write_text(json.dumps(merged(old, results), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkFailed as error:
        say(str(error))
        sys.exit(1)
