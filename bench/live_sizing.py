"""What a live job costs: rates, CPU and memory by symbols; bytes per event of each store.

`python -m bench.live_sizing` prints a table and the figures of `tickhouse/live/sizing.yaml`. It has
no floor to be compared with, so `python -m bench` does not run it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.bench_stack import (
    BenchProgram,
    BenchStack,
    LocalExchange,
    count_records,
    empty_topics,
    local_exchange,
    temporary_stack,
    wait_for,
)
from bench.harness import say, tree_cpu_s
from bench.pipeline import live_producer, producer_metrics, remove_earlier_data, streaming_job
from common.settings import Settings
from common.topics import CANDLES, ENRICHED_TRADES, TICKS, TRADES

# Symbols and aggregate trades per second. The mean of Binance's spot market in 2024 is about 500/s
# over all symbols, most of them in some dozens.
SIZES = ((1, 20), (50, 200), (500, 500))
MEASURED_S, STORES_S = 40, 180
OF_STORES = (50, 200)
STREAMS = "aggTrade,ticker"


def config(symbols: int, trades_per_s: int, length_s: int) -> dict[str, Any]:
    """Return a market in real time whose trades are as uneven over its symbols as real ones."""
    listed = [
        {
            **{"symbol": f"B{number:03d}USDT", "base": f"B{number:03d}", "quote": "USDT", "price": f"{10 + number}.50"},
            **{"tick": "0.01", "step": "0.001", "lot": 3000, "weight": max(1, 1000 // (number + 1))},
        }
        for number in range(symbols)
    ]
    market = {"seed": symbols, "symbols": listed, "silent_minutes": {}, "bursts": [], "length_s": length_s}
    playback = {"speed": 1, "live_times": True, "start": "subscription", "start_after_s": 3}
    events = max(trades_per_s * length_s, 4 * symbols + 40)
    return {"market": {**market, "events": events}, "playback": playback}


@contextmanager
def playing(
    bench: BenchStack, symbols: int, trades_per_s: int, length_s: int
) -> Iterator[tuple[LocalExchange, BenchProgram]]:
    """Run a market and its producer, from the first trade on."""
    name = f"live-{symbols}"
    with (
        local_exchange(bench, name, config(symbols, trades_per_s, length_s)) as market,
        live_producer(bench, name) as running,
    ):
        wait_for(lambda: producer_metrics().get("delivered", 0.0) > 0, "the first trade", timeout_s=120)
        yield market, running


def measure_producer(bench: BenchStack, symbols: int, trades_per_s: int) -> dict[str, float]:
    """Return rates, CPU per frame and memory of one producer."""
    settings = bench.up("kafka", "registry")
    empty_topics(settings)
    with playing(bench, symbols, trades_per_s, MEASURED_S + 60) as (market, running):
        before, cpu_s, began = frames(market), tree_cpu_s(running.process.pid), time.monotonic()
        kept = count_records(settings, TRADES), count_records(settings, TICKS)
        time.sleep(MEASURED_S)
        wall_s, used_s = time.monotonic() - began, tree_cpu_s(running.process.pid) - cpu_s
        received = frames(market) - before
        trades, ticks = count_records(settings, TRADES) - kept[0], count_records(settings, TICKS) - kept[1]
        peak_mb = running.peak_rss_mib() * 1.048576
    return {
        "symbols": symbols,
        "frames_per_s": round(received / wall_s, 1),
        "trades_per_s": round(trades / wall_s, 1),
        "ticks_per_s": round(ticks / wall_s, 1),
        "cpu_percent": round(100 * used_s / wall_s, 1),
        "cpu_us_per_frame": round(1e6 * used_s / max(received, 1), 1),
        "memory_mb": round(peak_mb),
    }


def frames(market: LocalExchange) -> int:
    """Return how many frames of trades and tickers the exchange has sent."""
    return sum(market.get("/tickhouse/truth")["frames"].values())


def measure_stores(bench: BenchStack) -> dict[str, Any]:
    """Return the bytes per event of each store of profile core, after minutes of one market."""
    settings = bench.up("kafka", "registry", "postgres", "redis", "lakefs")
    remove_earlier_data(bench, settings)
    before = lake_bytes(bench.home)
    with playing(bench, *OF_STORES, STORES_S), streaming_job(bench, "live-stores"):
        time.sleep(STORES_S)
    trades, ticks = count_records(settings, TRADES), count_records(settings, TICKS)
    bars, bar_bytes = candle_table(settings)
    # Trades and ticks are in files of their own, but of the same blocks.
    lake = (lake_bytes(bench.home) - before) / (trades + ticks)
    return {
        "seconds": STORES_S,
        "trades": trades,
        "ticks": ticks,
        "bars": bars,
        "bytes_per_trade": {
            "kafka": topic_bytes(bench.home, TRADES) / trades,
            "enriched": topic_bytes(bench.home, ENRICHED_TRADES) / max(1, count_records(settings, ENRICHED_TRADES)),
            "lake": lake,
        },
        "bytes_per_tick": {"kafka": topic_bytes(bench.home, TICKS) / max(1, ticks), "lake": lake},
        "bytes_per_bar": {
            "postgres": bar_bytes / max(1, bars),
            "candles": topic_bytes(bench.home, CANDLES) / max(1, bars),
        },
    }


def topic_bytes(home: Path, topic: str) -> int:
    """Return the bytes of a topic's segments, without indices, which are preallocated."""
    folders = [path for path in (home / "data" / "kafka").rglob(f"{topic}-*") if path.is_dir()]
    exact = [folder for folder in folders if folder.name.removeprefix(f"{topic}-").isdigit()]
    return sum(path.stat().st_size for folder in exact for path in folder.glob("*.log"))


def lake_bytes(home: Path) -> int:
    """Return the bytes of the lake: blocks and commits."""
    return sum(path.stat().st_size for path in (home / "data" / "lakefs").rglob("*") if path.is_file())


def candle_table(settings: Settings) -> tuple[int, int]:
    """Return rows and bytes of the candles, with indices."""
    query = """
        SELECT (SELECT count(*) FROM market.candles_1m), coalesce(sum(pg_total_relation_size(relid)), 0)::bigint
        FROM pg_partition_tree('market.candles_1m') WHERE isleaf
    """
    with psycopg.connect(settings.database_dsn("owner")) as connection:
        rows, size = connection.execute(query).fetchall()[0]
    return int(rows), int(size)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.live_sizing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-stores", action="store_true", help="only the producer")
    options = parser.parse_args()
    with temporary_stack() as bench:
        table = []
        for symbols, trades_per_s in SIZES:
            say(f"  {symbols} symbols")
            table.append(measure_producer(bench, symbols, trades_per_s))
            print(json.dumps(table[-1]), flush=True)
        if not options.no_stores:
            print(json.dumps(measure_stores(bench), indent=1), flush=True)


if __name__ == "__main__":
    main()
