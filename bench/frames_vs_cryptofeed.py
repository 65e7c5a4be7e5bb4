"""CPU per frame: frames to Avro bytes, against frames to objects in cryptofeed's handler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.bench_stack import BenchStack
from bench.harness import BenchmarkFailed, Figures, alternate, at_least, compared, rounded, say, worker
from bench.market import RECORDINGS, recorded_frames, synthetic_frames, write_frames
from common.settings import cache_dir
from stack.engine.cache import cached_folder

BOUND = at_least(0.5)
CRYPTOFEED = "cryptofeed==2.4.1"
PAIRS, PASSES = 5, 5
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SCRIPT = Path(__file__).parent / "workers" / "objects.py"


def run(bench: BenchStack) -> Figures:
    """Measure frames per CPU second over the frames that both sides accept."""
    python = str(environment() / "bin" / "python")
    recorded = recorded_frames()
    trades, books = recorded["aggTrade"], recorded["bookTicker"]
    origin = f"{len(trades)} recorded frames"
    if not trades:
        trades, books = [frame.decode() for frame in synthetic_frames(20_000)], []
        origin = f"{len(trades)} generated frames (no recordings at ../{RECORDINGS.relative_to(RECORDINGS.parents[2])})"
    figures = _measured(bench, "aggTrade", trades, python, bench.sized(PAIRS, 2))
    if books:
        tickers = _measured(bench, "bookTicker", books, python, bench.sized(3, 1))
        figures["every_ticker"] = {key: tickers[key] for key in ("ours", "floor", "ratio", "ratios")}
    figures["how"] = (
        f"alternate pairs of fresh processes, {PASSES} passes over {origin} of aggregate trades; ours: Intake.feed "
        "(UTF-8, parse, checks, ledger, Avro bytes) into an outbox that sends nothing, ledger and number cache empty "
        f"at each pass; floor: {CRYPTOFEED}, Binance.message_handler to Trade objects and an empty callback; "
        "`every_ticker`: recorded bookTicker frames, each one encoded (the producer itself keeps one in 5 s)"
    )
    return figures


def _measured(bench: BenchStack, kind: str, frames: list[str], python: str, pairs: int) -> Figures:
    path = bench.file(f"{kind}.txt")
    write_frames(path, (frame.encode() for frame in frames))

    def per_cpu_s(answer: dict[str, float]) -> float:
        expected = len(frames) * PASSES
        if answer["taken"] != expected:
            raise BenchmarkFailed(f"Expected {expected} {kind} events, was {answer['taken']}.")
        return rounded(expected / answer["cpu_s"])

    return compared(
        alternate(
            pairs,
            lambda: per_cpu_s(worker("encode", str(path), str(PASSES))),
            lambda: per_cpu_s(worker("objects", str(path), str(PASSES), python=python, script=SCRIPT)),
            name=f"frames_vs_cryptofeed {kind}",
        ),
        "frames per CPU s",
    )


def environment() -> Path:
    """Return a Python environment with cryptofeed only; created in the cache at the first call.

    Raises:
        BenchmarkFailed: cryptofeed cannot be installed.
    """

    def fill(folder: Path) -> None:
        say(f"    installing {CRYPTOFEED} into an environment of its own")
        uv = Path(sys.executable).with_name("uv")
        _run([str(uv), "venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(folder)])
        _run([str(uv), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), CRYPTOFEED])

    return cached_folder(cache_dir() / "bench" / f"{CRYPTOFEED.replace('==', '-')}-py{sys.version_info[1]}", fill)


def _run(command: list[str]) -> None:
    env = dict(os.environ)
    if CERTIFICATES.exists():
        env.setdefault("SSL_CERT_FILE", str(CERTIFICATES))  # uv has its own list of authorities, without private ones
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=900, check=False)
    except OSError as error:
        raise BenchmarkFailed(f"{CRYPTOFEED} cannot be installed: {error}.") from error
    if done.returncode != 0:
        raise BenchmarkFailed(f"{CRYPTOFEED} cannot be installed: {done.stderr[-1000:]}")
