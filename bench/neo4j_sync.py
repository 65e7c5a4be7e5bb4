"""Hours per second of a synchronization of the graph, against a plain UNWIND MERGE of the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.bench_stack import BenchStack
from bench.harness import Figures, alternate, at_least, compared
from common.clients.lakefs import repository
from common.clients.neo4j import Graph, connected
from common.settings import Settings
from tickhouse.graph.hours import hour_rows
from tickhouse.graph.sync import sync
from tickhouse.lake.branches import commit, ensure_branch

BOUND = at_least(0.6)
PAIRS = 3
SYMBOLS = 50
FIRST_DAY = date(2024, 8, 1)
BRANCH = "bench-graph"
ROWS = 1_000
_MINUTE, _AMOUNT, _QUOTE = pa.timestamp("us", "UTC"), pa.decimal128(38, 8), pa.decimal128(38, 16)
HOURS = pa.schema(
    [
        *((name, pa.string()) for name in ("market", "symbol")),
        *(("open_time", _MINUTE), ("close", pa.decimal128(28, 8)), ("volume", _AMOUNT), ("quote_volume", _QUOTE)),
        *((name, pa.int64()) for name in ("trades", "agg_trades")),
    ]
)
_CONSTRAINTS = (
    "CREATE CONSTRAINT plain_symbol IF NOT EXISTS FOR (one:PlainSymbol) REQUIRE one.symbol_id IS UNIQUE",
    "CREATE CONSTRAINT plain_hour IF NOT EXISTS FOR (one:PlainHour) REQUIRE one.hour_id IS UNIQUE",
)
_MERGE = """
UNWIND $rows AS row
MERGE (symbol:PlainSymbol {symbol_id: row.symbol_id})
MERGE (hour:PlainHour {hour_id: row.hour_id})
SET hour.hour = row.hour, hour.date = row.date, hour.close = row.close, hour.volume = row.volume,
    hour.quote_volume = row.quote_volume, hour.trades = row.trades
MERGE (symbol)-[:TRADED_IN]->(hour)
"""

Rows = list[dict[str, Any]]


def run(bench: BenchStack) -> Figures:
    """Measure both sides into an empty graph."""
    settings = bench.up("lakefs", "neo4j")
    days = {str(FIRST_DAY + timedelta(days=day)): candles(day) for day in range(bench.sized(15, 2))}
    write_lake(settings, days)
    rows = [row for day, of_day in days.items() for row in hour_rows(day, of_day)]
    with connected(settings, "writer") as graph:
        for constraint in _CONSTRAINTS:
            graph.write(constraint)

        def empty_first(side: Callable[[], Any]) -> Callable[[], float]:
            def timed() -> float:
                empty(graph)
                begun = time.monotonic()
                side()
                return len(rows) / (time.monotonic() - begun)

            return timed

        mine = empty_first(lambda: sync(settings, BRANCH))
        plain = empty_first(lambda: floor(graph, rows))
        mine(), plain()  # warm-up: the server compiles its queries
        pairs = alternate(bench.sized(PAIRS, 1), mine, plain, name="neo4j_sync")
    return compared(
        pairs,
        "hours/s",
        how=f"alternate runs into an empty graph, {len(rows)} hours of {SYMBOLS} symbols and {len(days)} days; ours: "
        "tickhouse graph sync of a commit (reads the lake, asks an exchange that does not answer, a checksum per day); "
        f"floor: UNWIND … MERGE of finished rows, {ROWS} per transaction, with the same constraints",
    )


def candles(day: int) -> Rows:
    """Return the hourly candles of one day."""
    start = datetime.combine(FIRST_DAY, datetime.min.time(), UTC) + timedelta(days=day)
    return [
        {
            **{"market": "spot", "symbol": f"A{symbol:02d}USDT", "open_time": start + timedelta(hours=hour)},
            **{"close": Decimal(symbol + 1), "volume": Decimal(hour + 1), "quote_volume": Decimal(symbol * hour)},
            **{"trades": 9, "agg_trades": 7},
        }
        for symbol in range(SYMBOLS)
        for hour in range(24)
    ]


def write_lake(settings: Settings, days: dict[str, Rows]) -> None:
    """Commit the candles to a branch of the lake."""
    ensure_branch(settings, BRANCH, "main")
    branch = repository(settings).branch(BRANCH)
    for day, rows in days.items():
        body = BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, HOURS), body)
        branch.object(f"gold/candles_1h/date={day}/part-0.parquet").upload(body.getvalue(), mode="wb")
    commit(settings, BRANCH, "gold", {})


def empty(graph: Graph) -> None:
    """Delete every node, a few at a time: one transaction must fit into the server's memory."""
    while graph.write("MATCH (n) WITH n LIMIT 5000 DETACH DELETE n RETURN count(n) AS n")[0]["n"]:
        pass


def floor(graph: Graph, rows: Rows) -> None:
    """Merge finished rows with one statement."""
    for at in range(0, len(rows), ROWS):
        graph.write(_MERGE, {"rows": rows[at : at + ROWS]})
