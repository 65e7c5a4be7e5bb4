"""Seconds from a trade's exchange time to its point in InfluxDB, at 1,000 events/s."""

from __future__ import annotations

from bench.bench_stack import BenchStack
from bench.freshness_p95_s import Newest, figures, watched_run
from bench.harness import Figures, at_most
from common.clients import influxdb
from common.settings import Settings

BOUND = at_most(1.0)  # of the limit of two seconds
# A trade that comes later than this is not found, and counts as infinitely late.
LOOK_BACK = "10s"
POLL_EVERY_S = 0.1
# `last` is answered from the index of each series (symbol and side), so that asking is little work.
# The last point in time has the highest id but for trades of one microsecond, which count as later.
_NEWEST = f"""
from(bucket: "trades")
    |> range(start: -{LOOK_BACK})
    |> filter(fn: (r) => r._measurement == "trade" and r._field == "trade_id" and r.stream == "aggTrade")
    |> last()
    |> group(columns: ["symbol"])
    |> max()
"""


def run(bench: BenchStack) -> Figures:
    """Measure for more than a minute, after more than a minute of warm-up."""
    queries = {"influxdb": newest_in_influxdb}
    return figures(watched_run(bench, "influx-freshness", queries, "influxdb", every_s=POLL_EVERY_S))


def newest_in_influxdb(settings: Settings, _symbols: list[str]) -> Newest:
    """Return a query of InfluxDB, with the reader's token."""
    client = influxdb.open_client(settings, "reader")
    return lambda: {row["symbol"]: int(row["_value"]) for row in influxdb.rows_of(client, _NEWEST)}
