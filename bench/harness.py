"""Tools for every benchmark: worker processes, CPU time, alternate runs, medians, results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from common.errors import TickhouseError
from common.settings import REPO

T = TypeVar("T")

Figures = dict[str, Any]


class BenchmarkFailed(TickhouseError):
    """A benchmark failed; nothing was measured."""


@dataclass(frozen=True)
class Bound:
    """An upper or lower limit of a ratio."""

    limit: float
    is_most: bool

    def holds(self, value: float) -> bool:
        """Return whether a value is within the limit; NaN is not."""
        return value <= self.limit if self.is_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.is_most else '>='} {self.limit:g}"


def at_most(limit: float) -> Bound:
    """Return an upper bound."""
    return Bound(limit, is_most=True)


def at_least(limit: float) -> Bound:
    """Return a lower bound."""
    return Bound(limit, is_most=False)


def say(line: str) -> None:
    """Write a line of progress to standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def alternate(pairs: int, ours: Callable[[], T], floor: Callable[[], T], *, name: str = "") -> list[tuple[T, T]]:
    """Run both sides `pairs` times in alternating order, so that drift of the machine hits both."""
    taken = []
    for number in range(pairs):
        if number % 2 == 0:
            mine = ours()
            theirs = floor()
        else:
            theirs = floor()
            mine = ours()
        taken.append((mine, theirs))
        say(f"    {name} pair {number + 1}/{pairs}: ours {mine}, floor {theirs}")
    return taken


def compared(pairs: list[tuple[float, float]], unit: str, **more: object) -> Figures:
    """Return the medians of both sides and the median of the pairs' ratios ours / floor."""
    return {
        "ours": rounded(statistics.median(mine for mine, _ in pairs)),
        "floor": rounded(statistics.median(theirs for _, theirs in pairs)),
        "ratio": rounded(ratio_of(pairs)),
        "unit": unit,
        "ratios": [rounded(mine / theirs) for mine, theirs in pairs],
        **more,
    }


def ratio_of(pairs: list[tuple[float, float]]) -> float:
    """Return the median of ours / floor over the pairs."""
    return statistics.median(mine / theirs for mine, theirs in pairs)


def rounded(value: float) -> float:
    """Round to 4 significant digits; more would be noise."""
    return float(f"{value:.4g}")


def worker(
    module: str, *arguments: str, python: str = sys.executable, script: Path | None = None, timeout_s: float = 900.0
) -> dict[str, Any]:
    """Run `python -m bench.workers.<module>`, or a script, in a new process; return its JSON.

    Raises:
        BenchmarkFailed: It ended with an error or printed no JSON; the message contains the end of
            its output.
    """
    command = [python, *([str(script)] if script else ["-m", f"bench.workers.{module}"]), *arguments]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=timeout_s, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise BenchmarkFailed(f"{module} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


class ProcessMeter:
    """Wall time and CPU time of this process since the meter was created; for workers.

    CPU time is that of the whole process, so that threads of librdkafka or a JVM count.
    """

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def taken(self) -> dict[str, float]:
        """Return `seconds` and `cpu_s` so far."""
        return {"seconds": time.perf_counter() - self._wall, "cpu_s": time.process_time() - self._cpu}


def tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, ended ones included."""
    total = 0.0
    process = psutil.Process(pid)
    for member in [process, *process.children(recursive=True)]:
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended after the listing; its parent has its time
        total += times.user + times.system + times.children_user + times.children_system
    return total


def load_1m() -> float:
    """Return the machine's load average of the last minute."""
    return round(os.getloadavg()[0], 2)


class OtherCpu:
    """How many cores were busy with other processes since this was created.

    Own processes are this one, its descendants, and those of the benchmark's supervisor.
    """

    def __init__(self, roots: Callable[[], list[int]]) -> None:
        self._roots = roots
        self._busy, self._own, self._at = _busy_s(), self._own_s(), time.perf_counter()

    def _own_s(self) -> float:
        return sum(tree_cpu_s(pid) for pid in self._roots())

    def cores(self) -> float:
        """Return the cores that other processes kept busy, on average."""
        wall = max(time.perf_counter() - self._at, 1e-9)
        return round(max(_busy_s() - self._busy - (self._own_s() - self._own), 0.0) / wall, 2)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def machine() -> str:
    """Return a description of this machine."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores ({_cpu_model()}), {memory:.0f} GiB, Python {platform.python_version()}"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile; NaN without values."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of an earlier run updated with new ones, sorted by name."""
    return dict(sorted({**old, **new}.items()))
