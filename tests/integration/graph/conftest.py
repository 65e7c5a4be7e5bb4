"""A small lake and an exchange whose answers the tests choose; the graph is known by hand."""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.clients.lakefs import repository
from common.clients.neo4j import connected
from common.settings import Settings
from tests.conftest import Stack
from tests.lakes import empty_branch
from tickhouse.lake.branches import commit

HOURS = pa.schema(
    [
        *((name, pa.string()) for name in ("market", "symbol")),
        ("open_time", pa.timestamp("us", "UTC")),
        ("close", pa.decimal128(28, 8)),
        ("volume", pa.decimal128(38, 8)),
        ("quote_volume", pa.decimal128(38, 16)),
        *((name, pa.int64()) for name in ("trades", "agg_trades")),
    ]
)
MOVERS = pa.schema([(name, pa.string()) for name in ("market", "symbol", "quote")])
QUOTES = {"BTCUSDT": "USDT", "ETHUSDT": "USDT", "ETHBTC": "BTC"}
# Close and quote volume of each symbol, by day and hour.
MARKET = {
    "2024-08-08": {
        12: {"BTCUSDT": ("60000", "600.0000000000000001"), "ETHUSDT": ("3000", "250"), "ETHBTC": ("0.051", "1")},
        11: {"BTCUSDT": ("59000", "149.9999999999999999")},
    },
    "2024-08-07": {12: {"BTCUSDT": ("55000", "10")}},
}
Market = dict[str, dict[int, dict[str, tuple[str, str]]]]


class Exchange(http.server.ThreadingHTTPServer):
    """Serves exchangeInfo of the spot market, and refuses everything else."""

    def __init__(self) -> None:
        self.symbols = {
            name: listed(name, base, quote)
            for name, base, quote in (
                *(("BTCUSDT", "BTC", "USDT"), ("ETHUSDT", "ETH", "USDT"), ("ETHBTC", "ETH", "BTC")),
                *(("BNBUSDT", "BNB", "USDT"), ("BNBETH", "BNB", "ETH")),
            )
        }
        super().__init__(("127.0.0.1", 0), _Handler)


def listed(symbol: str, base: str, quote: str, status: str = "TRADING") -> dict[str, str]:
    return {"symbol": symbol, "baseAsset": base, "quoteAsset": quote, "status": status}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Exchange

    def do_GET(self) -> None:
        is_known = self.path.partition("?")[0] == "/api/v3/exchangeInfo" and bool(self.server.symbols)
        body = json.dumps({"symbols": [*self.server.symbols.values()], "rateLimits": []} if is_known else {"code": -1})
        self.send_response(200 if is_known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def exchange() -> Iterator[Exchange]:
    with Exchange() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@dataclass
class GraphBench:
    """A branch of the lake, an exchange, and the settings that lead to both and to a graph."""

    settings: Settings
    exchange: Exchange
    branch: str = field(default_factory=lambda: f"graph-{uuid.uuid4().hex[:8]}")

    def commit(self, market: Market) -> str:
        """Make gold of the branch equal to a market, and commit; other days are removed."""
        branch = repository(self.settings).branch(self.branch)
        for old in [one.path for one in branch.objects(prefix="gold/")]:
            branch.object(old).delete()
        for day, hours in market.items():
            rows = [row(day, hour, *one) for hour, traded in hours.items() for one in traded.items()]
            movers = [{"market": "spot", "symbol": name, "quote": QUOTES.get(name, "")} for name in names(hours)]
            self._put(f"gold/candles_1h/date={day}/part-0.parquet", pa.Table.from_pylist(rows, HOURS))
            self._put(f"gold/top_movers/date={day}/part-0.parquet", pa.Table.from_pylist(movers, MOVERS))
        return commit(self.settings, self.branch, "gold", {})

    def _put(self, path: str, table: pa.Table) -> None:
        body = BytesIO()
        pq.write_table(table, body)
        repository(self.settings).branch(self.branch).object(path).upload(body.getvalue(), mode="wb")

    def content(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return all nodes and relationships of the graph."""
        with connected(self.settings, "reader") as graph:
            nodes = "MATCH (n) RETURN labels(n) AS labels, properties(n) AS values ORDER BY elementId(n)"
            edges = (
                "MATCH (a)-[r]->(b) RETURN elementId(a) AS a, type(r) AS type, properties(r) AS values, "
                "elementId(b) AS b ORDER BY elementId(r)"
            )
            return graph.read(nodes), graph.read(edges)

    def hours(self) -> dict[str, str]:
        """Return the quote volume of each hour of the graph, by its id."""
        with connected(self.settings, "reader") as graph:
            query = "MATCH (:Symbol)-[:TRADED_IN]->(h:TradedHour) RETURN h.hour_id AS id, h.quote_volume AS volume"
            return {one["id"]: one["volume"] for one in graph.read(query)}


def names(hours: dict[int, dict[str, tuple[str, str]]]) -> list[str]:
    return sorted({name for traded in hours.values() for name in traded})


def row(day: str, hour: int, symbol: str, amounts: tuple[str, str]) -> dict[str, Any]:
    time = datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)
    close, quote_volume = map(Decimal, amounts)
    fixed = {"market": "spot", "volume": Decimal(1), "trades": 2, "agg_trades": 1}
    return fixed | {"symbol": symbol, "open_time": time, "close": close, "quote_volume": quote_volume}


@pytest.fixture
def bench(stack: Stack) -> Iterator[GraphBench]:
    """A bench with an empty graph."""
    settings = stack.up("lakefs", "neo4j")
    with connected(settings, "writer") as graph:
        graph.write("MATCH (n) DETACH DELETE n")
    with exchange() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        made = GraphBench(settings.model_copy(update={"exchange_rest_url": url}), server)
        empty_branch(settings, made.branch)
        yield made
