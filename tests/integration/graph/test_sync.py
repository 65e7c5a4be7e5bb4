"""The graph equals a commit of the lake, whatever was in it before."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from common.clients.neo4j import Graph, connected
from common.errors import ConfigurationError, StoreUnavailable
from tests.integration.graph.conftest import MARKET, GraphBench, Market, listed
from tickhouse.graph import statements
from tickhouse.graph.sync import GraphSync, sync

pytestmark = pytest.mark.integration


def expected(market: Market) -> dict[str, str]:
    """Return the quote volume of each hour by its id, as the test wrote it."""
    return {
        f"spot:{symbol}:{day}T{hour:02d}": amounts[1]
        for day, hours in market.items()
        for hour, traded in hours.items()
        for symbol, amounts in traded.items()
    }


def statuses(bench: GraphBench, symbol: str) -> list[str]:
    with connected(bench.settings, "reader") as graph:
        query = (
            "MATCH (:Symbol {symbol_id: $id})-[:HAD_STATUS]->(one:Listing) "
            "RETURN one.status AS status ORDER BY one.seen_at"
        )
        return [row["status"] for row in graph.read(query, {"id": f"spot:{symbol}"})]


def test_the_same_commit_again_changes_nothing(bench: GraphBench) -> None:
    commit_id = bench.commit(MARKET)

    assert sync(bench.settings, bench.branch) == GraphSync(commit_id, symbols=5, listings=5, days=2, hours=5)
    before = bench.content()
    assert bench.hours() == expected(MARKET)
    assert sync(bench.settings, commit_id) == GraphSync(commit_id, 0, 0, 0, 0)
    assert bench.content() == before


def test_a_newer_commit_changes_its_days_only_and_an_older_one_is_refused(
    bench: GraphBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tickhouse.graph import source

    first = bench.commit(MARKET)
    sync(bench.settings, first)
    newer = copy.deepcopy(MARKET)
    del newer["2024-08-07"]
    newer["2024-08-08"][12] = {"BTCUSDT": ("61000", "7")}
    second = bench.commit(newer)
    read_commit = source.read_commit

    def later(settings: Any, ref: str) -> source.GraphCommit:
        found = read_commit(settings, ref)
        # Commits of one second have one time; here the second is a second later.
        return source.GraphCommit(found.commit_id, found.committed_at + (found.commit_id == second), found.days)

    monkeypatch.setattr(source, "read_commit", later)
    assert sync(bench.settings, second).days == 2
    assert bench.hours() == expected(newer)
    before = bench.content()
    with pytest.raises(ConfigurationError, match="older"):
        sync(bench.settings, first)
    assert bench.content() == before


@pytest.mark.parametrize("at", [statements.HOURS, statements.LOADED_DAY, statements.LOADED_COMMIT])
def test_a_synchronization_that_was_killed_is_finished_by_the_next(
    bench: GraphBench, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    commit_id = bench.commit(MARKET)
    write = Graph.write

    def failing(graph: Graph, query: str, parameters: Any = None) -> Any:
        if query == at:
            raise StoreUnavailable("killed")
        return write(graph, query, parameters)

    with monkeypatch.context() as broken:
        broken.setattr(Graph, "write", failing)
        with pytest.raises(StoreUnavailable, match="killed"):
            sync(bench.settings, commit_id)

    sync(bench.settings, commit_id)
    assert bench.hours() == expected(MARKET)
    assert sync(bench.settings, commit_id) == GraphSync(commit_id, 0, 0, 0, 0)


def test_the_history_of_a_listing_is_kept(bench: GraphBench) -> None:
    commit_id = bench.commit(MARKET)
    sync(bench.settings, commit_id)
    bench.exchange.symbols["ETHBTC"] = listed("ETHBTC", "ETH", "BTC", "BREAK")
    del bench.exchange.symbols["BNBETH"]

    assert sync(bench.settings, commit_id) == GraphSync(commit_id, symbols=2, listings=2, days=0, hours=0)
    assert (statuses(bench, "ETHBTC"), statuses(bench, "BTCUSDT")) == (["TRADING", "BREAK"], ["TRADING"])
    assert statuses(bench, "BNBETH") == ["TRADING", "NOT_LISTED"]


def test_without_an_exchange_the_lake_gives_pairs_and_listings_stay(bench: GraphBench) -> None:
    known, bench.exchange.symbols = bench.exchange.symbols, {}
    market = {"2024-08-08": {12: {"BTCUSDT": ("1", "1"), "UNKNOWN": ("1", "2")}}}
    said: list[str] = []

    made = sync(bench.settings, bench.commit(market), said.append)

    assert (made.symbols, made.listings, made.hours) == (1, 0, 2)
    assert bench.hours() == expected(market)
    assert "exchangeInfo of spot was not read" in said[0]
    bench.exchange.symbols = known
    assert sync(bench.settings, bench.branch).listings == 5


def test_every_node_has_the_label_of_a_constraint(bench: GraphBench) -> None:
    sync(bench.settings, bench.commit(MARKET))

    nodes, _ = bench.content()
    assert {label for node in nodes for label in node["labels"]} <= set(statements.KEYS)
    assert not any(isinstance(value, float) for node in nodes for value in node["values"].values())
