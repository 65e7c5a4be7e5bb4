"""A generated sample of users, wallets and their trades; every node has the label SYNTHETIC.

Exchanges publish no accounts, so this part of the graph cannot come from the lake. The sample
shows what queries over wallets look like. It depends on the seed only.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from common.clients.neo4j import Graph, connected
from common.settings import Settings
from tickhouse.graph import statements
from tickhouse.graph.hours import exact_text

USERS = 24
GROUPS = 6  # wallets trade mostly within their group, so that some share counterparties
TRADES = 400
HOURS = 24
PAIRS = ("BTC-USDT", "ETH-BTC", "ETH-USDT")

_USERS = """
UNWIND $rows AS row
MERGE (user:User {user_id: row.user_id})
SET user:SYNTHETIC, user.seed = row.seed
"""
_WALLETS = """
UNWIND $rows AS row
MATCH (user:User:SYNTHETIC {user_id: row.user_id})
MERGE (wallet:Wallet {wallet_id: row.wallet_id})
SET wallet:SYNTHETIC, wallet.seed = row.seed
MERGE (user)-[:OWNS]->(wallet)
"""
_TRADES = """
UNWIND $rows AS row
MATCH (seller:Wallet:SYNTHETIC {wallet_id: row.seller}), (buyer:Wallet:SYNTHETIC {wallet_id: row.buyer})
MERGE (seller)-[traded:TRADED_WITH {pair: row.pair, hour: row.hour}]->(buyer)
SET traded.trades = row.trades, traded.qty = row.qty
"""
_REMOVE_OTHERS = """
MATCH (one:SYNTHETIC) WHERE (one:User OR one:Wallet) AND ($seed IS NULL OR one.seed <> $seed)
DETACH DELETE one
"""


@dataclass(frozen=True, slots=True)
class WalletSample:
    """Rows of the sample. Trades are added up per pair of wallets, pair and hour."""

    seed: int | None
    users: tuple[dict[str, Any], ...] = ()
    wallets: tuple[dict[str, Any], ...] = ()
    trades: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class WrittenSample:
    """How much of the sample the graph holds."""

    seed: int | None
    users: int
    wallets: int
    relations: int


def nothing() -> WalletSample:
    """Return an empty sample; to write it removes the one that is there."""
    return WalletSample(None)


def generate(seed: int) -> WalletSample:
    """Return the sample of a seed: users with one or two wallets each, and their trades."""
    chance = random.Random(seed)  # noqa: S311  # a generated sample, no secret
    users = [f"SYNTHETIC-user-{number:03d}" for number in range(USERS)]
    owners = [user for user in users for _ in range(chance.randint(1, 2))]
    wallets = [f"SYNTHETIC-wallet-{number:03d}" for number in range(len(owners))]
    sums: dict[tuple[str, str, str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for _ in range(TRADES):
        seller, buyer = _parties(chance, wallets)
        key = (seller, buyer, chance.choice(PAIRS), f"2024-01-01T{chance.randrange(HOURS):02d}")
        trades, qty = sums[key]
        sums[key] = (trades + 1, qty + chance.randint(1, 10**10))
    return WalletSample(
        seed,
        tuple({"user_id": user, "seed": seed} for user in users),
        tuple({"wallet_id": w, "user_id": o, "seed": seed} for w, o in zip(wallets, owners, strict=True)),
        tuple(_trade_row(key, *sums[key]) for key in sorted(sums)),
    )


def _parties(chance: random.Random, wallets: list[str]) -> tuple[str, str]:
    """Return two different wallets; nine times of ten both are of one group."""
    seller = chance.randrange(len(wallets))
    group = [number for number in range(len(wallets)) if number % GROUPS == seller % GROUPS]
    others = group if chance.random() < 0.9 else range(len(wallets))
    buyer = chance.choice([number for number in others if number != seller])
    return wallets[seller], wallets[buyer]


def _trade_row(key: tuple[str, str, str, str], trades: int, qty: int) -> dict[str, Any]:
    seller, buyer, pair, hour = key
    amounts = {"trades": trades, "qty": exact_text(Decimal(qty).scaleb(-8))}
    return {"trade_id": ":".join(key), "seller": seller, "buyer": buyer, "pair": pair, "hour": hour} | amounts


def write(settings: Settings, sample: WalletSample) -> WrittenSample:
    """Make the synthetic part of the graph equal to a sample; a second call changes nothing.

    Raises:
        StoreUnavailable: Neo4j does not answer.
    """
    with connected(settings, "writer") as graph:
        for statement in statements.CONSTRAINTS:
            graph.write(statement)
        graph.write(_REMOVE_OTHERS, {"seed": sample.seed})
        _write(graph, _USERS, sample.users, "user_id")
        _write(graph, _WALLETS, sample.wallets, "wallet_id")
        _write(graph, _TRADES, sample.trades, "trade_id")
    return WrittenSample(sample.seed, len(sample.users), len(sample.wallets), len(sample.trades))


def _write(graph: Graph, statement: str, rows: tuple[dict[str, Any], ...], key: str) -> None:
    for batch in statements.batches(rows, key):
        graph.write(statement, {"rows": batch})
