"""Each query on a small graph, by the command line; the right answers were computed by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from common.clients.neo4j import connected
from common.errors import ConfigurationError
from tests.integration.graph.conftest import MARKET, GraphBench
from tickhouse.cli import app
from tickhouse.graph.sync import sync
from tickhouse.graph.wallet_sample import WalletSample, generate, nothing, write

pytestmark = pytest.mark.integration


def answer(name: str, **parameters: str) -> dict[str, Any]:
    """Return what `tickhouse graph query NAME --json` prints."""
    options = [word for key, value in parameters.items() for word in ("--param", f"{key}={value}")]
    done = CliRunner().invoke(app, ["graph", "query", name, "--json", *options])
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def known(bench: GraphBench) -> GraphBench:
    sync(bench.settings, bench.commit(MARKET))
    return bench


@pytest.mark.usefixtures("known")
def test_connecting_assets() -> None:
    assert answer("connecting_assets", left="BTC-USDT", right="ETH-BTC")["rows"] == [
        {"asset": "BTC", "through": []},  # both pairs have it
        {"asset": "BNB", "through": ["BNB-USDT", "BNB-ETH"]},  # USDT - BNB - ETH
    ]


@pytest.mark.usefixtures("known")
def test_triangles_of_the_newest_hour() -> None:
    rows = answer("triangles")["rows"]

    found = [(one["direct"], one["via"], one["direct_rate"], one["implied_rate"], one["difference_bp"]) for one in rows]
    assert {one["hour"] for one in rows} == {"2024-08-08T12"}
    assert found == [
        ("ETHUSDT", "BTC", "3000", "3060", "200.0000"),  # 0.051 x 60000
        ("BTCUSDT", "ETH", "60000", "58823.5294117647059", "-196.0784"),  # 3000 / 0.051
        ("ETHBTC", "USDT", "0.051", "0.05", "-196.0784"),  # 3000 / 60000
    ]
    assert answer("triangles", hour="2024-08-07T12")["rows"] == []  # one symbol makes no triangle


@pytest.mark.usefixtures("known")
def test_concentration() -> None:
    document = answer("concentration", quote="USDT", **{"from": "2024-08-08T00"})

    found = [(one["symbol"], one["hours"], one["quote_volume"], one["share"]) for one in document["rows"]]
    # 600.0000000000000001 + 149.9999999999999999 of 1000
    assert found == [("BTCUSDT", 2, "750", "0.75000000"), ("ETHUSDT", 1, "250", "0.25000000")]
    assert document["figures"] == {"quote_volume": "1000", "herfindahl": "0.62500000"}  # 0.75^2 + 0.25^2


def test_shared_counterparties(bench: GraphBench) -> None:
    owners = {"w1": "u1", "w2": "u1", "w3": "u2", "w4": "u3"}
    sold = (("w1", "w3"), ("w3", "w2"), ("w1", "w4"), ("w4", "w2"))
    trade = {"pair": "BTC-USDT", "hour": "2024-01-01T00", "trades": 1, "qty": "1"}
    write(
        bench.settings,
        WalletSample(
            0,
            tuple({"user_id": user, "seed": 0} for user in sorted(set(owners.values()))),
            tuple({"wallet_id": wallet, "user_id": user, "seed": 0} for wallet, user in owners.items()),
            tuple(trade | {"trade_id": f"{a}:{b}", "seller": a, "buyer": b} for a, b in sold),
        ),
    )

    assert answer("shared_counterparties")["rows"] == [
        {"left": "w1", "right": "w2", "is_same_user": True, "shared": ["w3", "w4"], "label": "SYNTHETIC"},
        {"left": "w3", "right": "w4", "is_same_user": False, "shared": ["w1", "w2"], "label": "SYNTHETIC"},
    ]
    assert answer("shared_counterparties", least="3")["rows"] == []


def test_the_sample_is_synthetic_on_every_node_and_written_once(bench: GraphBench) -> None:
    sync(bench.settings, bench.commit(MARKET))
    without = bench.content()

    write(bench.settings, generate(7))
    once = bench.content()
    write(bench.settings, generate(7))
    assert bench.content() == once
    assert answer("shared_counterparties")["rows"]

    nodes = [node["labels"] for node in once[0] if {"User", "Wallet"} & set(node["labels"])]
    assert nodes
    assert all("SYNTHETIC" in labels for labels in nodes)
    write(bench.settings, generate(8))
    with connected(bench.settings, "reader") as graph:
        assert graph.read("MATCH (one:SYNTHETIC) RETURN collect(DISTINCT one.seed) AS seeds") == [{"seeds": [8]}]
    write(bench.settings, nothing())
    assert bench.content() == without


def test_the_command_line_synchronizes_and_explains_errors(bench: GraphBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCHANGE_REST_URL", bench.settings.exchange_rest_url)
    commit_id = bench.commit(MARKET)

    done = CliRunner().invoke(app, ["graph", "sync", "--ref", bench.branch, "--json"])
    assert json.loads(done.stdout) == {"commit_id": commit_id, "symbols": 5, "listings": 5, "days": 2, "hours": 5}
    assert CliRunner().invoke(app, ["graph", "sync", "--ref", "nowhere"]).exit_code == 2
    assert CliRunner().invoke(app, ["graph", "query", "nothing"]).exit_code == 2
    assert CliRunner().invoke(app, ["graph", "query", "triangles", "--param", "hour"]).exit_code == 2
    shown = CliRunner().invoke(app, ["graph", "query", "concentration", "--param", "quote=USDT"])
    assert "herfindahl" in shown.stdout
    assert json.loads(CliRunner().invoke(app, ["graph", "sample", "--seed", "7", "--json"]).stdout)["users"] == 24


def test_a_graph_of_a_synthetic_market_says_so_and_takes_no_real_trades(
    known: GraphBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not answer("triangles")["is_simulated"]
    monkeypatch.setattr("tickhouse.graph.sync.kind_of", lambda _: "simulated")
    sync(known.settings, known.branch)
    assert answer("triangles")["is_simulated"]

    monkeypatch.setattr("tickhouse.graph.sync.kind_of", lambda _: "real")
    with pytest.raises(ConfigurationError, match="simulated"):
        sync(known.settings, known.branch)
