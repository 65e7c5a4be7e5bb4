"""Measure the stand-in on a server of its own: `python -m tests.contract.figures [objects]`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lakefs
import psutil

from tests.contract.conftest import make_client, make_s3
from tests.contract.server import StandInProcess

MIB = 1 << 20


def timed(call: Callable[[], Any]) -> float:
    """Return the seconds of a call."""
    start = time.monotonic()
    call()
    return time.monotonic() - start


def measure(server: StandInProcess, count: int) -> dict[str, str]:
    """Return the figures by name."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    repo = lakefs.Repository("lake", client=make_client(server.endpoint)).create("local://lake")
    main, s3 = repo.branch("main"), make_s3(server.endpoint)

    def put(number: int) -> None:
        key = f"main/bronze/date={number % 20:02d}/hour={number % 24:02d}/{number:06d}"
        s3.put_object(Bucket="lake", Key=key, Body=b"x" * 1000)

    def put_all() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(count)))

    before = sum(process.cpu_times()[:2])
    upload_s = timed(put_all)
    cpu_ms = (sum(process.cpu_times()[:2]) - before) * 1000 / count
    figures = {
        "small uploads": f"{count / upload_s:.0f}/s, {cpu_ms:.1f} ms of server CPU each",
        f"commit of {count} objects": f"{timed(lambda: main.commit('all')):.3f} s",
        f"list {count} objects": f"{timed(lambda: list(main.objects(amount=1000))):.2f} s",
    }
    empty = repo.branch("empty").create("main~1")
    figures[f"merge of {count} changes"] = f"{timed(lambda: main.merge_into(empty)):.3f} s"
    dev = repo.branch("dev").create("main")
    for number in range(100):
        s3.put_object(Bucket="lake", Key=f"dev/silver/{number}", Body=b"1")
    figures["commit of 100 objects"] = f"{timed(lambda: dev.commit('silver')):.3f} s"
    figures[f"merge of 100 changes over {count}"] = f"{timed(lambda: dev.merge_into('main')):.3f} s"
    body = b"x" * MIB
    put_s = timed(lambda: [s3.put_object(Bucket="lake", Key=f"main/mib/{n}", Body=body) for n in range(100)])
    get_s = timed(lambda: [s3.get_object(Bucket="lake", Key=f"main/mib/{n}")["Body"].read() for n in range(100)])
    figures["1 MiB objects, one client"] = f"put {100 / put_s:.0f}, get {100 / get_s:.0f} MiB/s"
    figures["resident memory"] = f"{process.memory_info().rss / 1e6:.0f} MB"
    return figures


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        server = StandInProcess(Path(folder) / "data").start()
        try:
            for name, value in measure(server, count).items():
                sys.stdout.write(f"{name:36} {value}\n")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
