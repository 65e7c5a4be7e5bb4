"""`python -m bench.api_load [--rate N] [--seconds N]`: mixed reads of the API at a fixed rate.

Requests start at their planned times, whether or not earlier ones are answered, and a latency
counts from the planned time. So a server that stops for a moment delays every request of that
moment, as it would for its users. What is printed is one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

import aiohttp

from api.principals import KEY_HEADER
from bench.api_candles import SYMBOLS, fill
from bench.bench_stack import temporary_stack
from bench.harness import load_1m, percentile, rounded
from common.settings import Settings

CONNECTIONS = 64
PATHS = (
    *(f"/v1/candles?market=spot&symbol=S{number:03d}USDT&limit=200" for number in range(10)),
    *(f"/v1/candles?market=spot&symbol=S{number:03d}USDT&interval=1h" for number in range(4)),
    *(f"/v1/statistics?market=spot&symbol=S{number:03d}USDT" for number in range(4)),
    "/v1/symbols?market=spot",
    "/v1/latest?market=spot",
    "/v1/movers?market=spot",
)


def main() -> None:
    """Start a stack, load its API, and print latencies in milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m bench.api_load", description="Load the API at a fixed rate.")
    parser.add_argument("--rate", type=int, default=500, help="requests per second")
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    with temporary_stack() as bench:
        settings = bench.up("postgres", "redis", "api")
        fill(settings, SYMBOLS, 2)
        asyncio.run(load(settings, 50, 5))  # warms up connections and the cache
        before = load_1m()
        latencies, hits, failed = asyncio.run(load(settings, options.rate, options.seconds))
    figures = {f"p{share}_ms": rounded(percentile(latencies, share)) for share in (50, 95, 99)}
    counts = {"requests": len(latencies), "failed": failed, "cached_percent": rounded(100 * hits / len(latencies))}
    loads = {"load_1m": [before, load_1m()]}
    sys.stdout.write(
        json.dumps({"rate": options.rate, **counts, **figures, "max_ms": rounded(max(latencies)), **loads}) + "\n"
    )


async def load(settings: Settings, rate: int, seconds: int) -> tuple[list[float], int, int]:
    """Return latencies in milliseconds, the number of cached answers, and of failed ones."""
    latencies: list[float] = []
    counts = {"hit": 0, "failed": 0}
    headers = {KEY_HEADER: settings.api_read_key.get_secret_value()}
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(settings.api_url, headers=headers, connector=connector) as session:

        async def ask(planned: float, path: str) -> None:
            async with session.get(path) as answer:
                await answer.read()
                counts["hit"] += answer.headers.get("X-Cache") == "hit"
                counts["failed"] += answer.status != 200
            latencies.append((time.perf_counter() - planned) * 1000)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(rate * seconds):
                planned = began + number / rate
                if (wait_s := planned - time.perf_counter()) > 0:
                    await asyncio.sleep(wait_s)
                tasks.create_task(ask(planned, PATHS[number % len(PATHS)]))
    return latencies, counts["hit"], counts["failed"]


if __name__ == "__main__":
    main()
