"""The statements that write the graph. Constraints come first, and each batch is sorted.

A `MERGE` without a constraint would search all nodes, and two of them at the same moment could make
a node twice. Sorted batches take their locks in one order, so that two writers never wait for each
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# Rows per transaction: some hundred kilobytes of parameters.
BATCH = 1_000

# Label to the property that is unique in it.
KEYS = {
    "Exchange": "exchange",
    "Market": "market",
    "Asset": "asset",
    "Pair": "pair",
    "Symbol": "symbol_id",
    "Listing": "listing_id",
    "TradedHour": "hour_id",
    "LoadedDay": "date",
    "LoadedCommit": "graph",
    "User": "user_id",
    "Wallet": "wallet_id",
}

CONSTRAINTS = tuple(
    f"CREATE CONSTRAINT {label.lower()}_key IF NOT EXISTS FOR (one:{label}) REQUIRE one.{key} IS UNIQUE"
    for label, key in KEYS.items()
)
INDEXES = (
    "CREATE INDEX tradedhour_date IF NOT EXISTS FOR (one:TradedHour) ON (one.date)",
    "CREATE INDEX tradedhour_hour IF NOT EXISTS FOR (one:TradedHour) ON (one.hour)",
)

# A status and the listing that records it are written in one transaction: the next synchronization
# compares with the status.
SYMBOLS = """
UNWIND $rows AS row
MERGE (exchange:Exchange {exchange: 'BINANCE'})
MERGE (market:Market {market: row.market})
MERGE (exchange)-[:HAS_MARKET]->(market)
MERGE (base:Asset {asset: row.base})
MERGE (quote:Asset {asset: row.quote})
MERGE (pair:Pair {pair: row.pair})
MERGE (pair)-[:BASE]->(base)
MERGE (pair)-[:QUOTE]->(quote)
MERGE (symbol:Symbol {symbol_id: row.symbol_id})
SET symbol.market = row.market, symbol.symbol = row.symbol, symbol.base = row.base, symbol.quote = row.quote,
    symbol.status = row.status, symbol.onboard_ms = row.onboard_ms
MERGE (symbol)-[:LISTED_ON]->(market)
MERGE (symbol)-[:OF_PAIR]->(pair)
FOREACH (change IN row.listings |
  MERGE (listing:Listing {listing_id: change.listing_id})
  SET listing.status = change.status, listing.seen_at = change.seen_at
  MERGE (symbol)-[:HAD_STATUS]->(listing))
"""

# A symbol may get other assets, for instance when the lake guessed them first.
FORMER_PAIRS = """
MATCH (symbol:Symbol)-[former:OF_PAIR]->(pair:Pair)
WHERE pair.pair <> symbol.base + '-' + symbol.quote
DELETE former
"""

# A symbol whose quote asset nobody knows has hours and no pair.
HOURS = """
UNWIND $rows AS row
MERGE (symbol:Symbol {symbol_id: row.symbol_id})
ON CREATE SET symbol.market = row.market, symbol.symbol = row.symbol, symbol.base = row.symbol, symbol.quote = '',
    symbol.status = ''
MERGE (hour:TradedHour {hour_id: row.hour_id})
SET hour.hour = row.hour, hour.date = row.date, hour.close = row.close, hour.volume = row.volume,
    hour.quote_volume = row.quote_volume, hour.trades = row.trades
MERGE (symbol)-[:TRADED_IN]->(hour)
"""

REMOVE_HOURS = """
MATCH (hour:TradedHour {date: $date}) WHERE NOT hour.hour_id IN $kept
DETACH DELETE hour
"""

# The retention removes a day's hours some time after the day was loaded (tickhouse/retention).
LOADED_DAY = """
MERGE (day:LoadedDay {date: $date})
SET day.checksum = $checksum, day.loaded_at_s = $loaded_at_s REMOVE day.is_removed
"""
FORGET_DAY = "MATCH (day:LoadedDay {date: $date}) DELETE day"

# Written before anything else, so that a synchronization that was killed leaves no unmarked trades.
CLAIM = "MERGE (loaded:LoadedCommit {graph: 'lake'}) SET loaded.market_kind = $market_kind"
READ_KIND = "MATCH (loaded:LoadedCommit {graph: 'lake'}) RETURN loaded.market_kind AS market_kind"

LOADED_COMMIT = """
MERGE (loaded:LoadedCommit {graph: 'lake'})
SET loaded.commit_id = $commit_id, loaded.committed_at = $committed_at
"""

READ_COMMIT = """
MATCH (loaded:LoadedCommit {graph: 'lake'}) WHERE loaded.commit_id IS NOT NULL
RETURN loaded.commit_id AS commit_id, loaded.committed_at AS committed_at
"""
READ_DAYS = "MATCH (day:LoadedDay) RETURN day.date AS date, day.checksum AS checksum ORDER BY date"
READ_SYMBOLS = """
MATCH (symbol:Symbol)
RETURN symbol.market AS market, symbol.symbol AS symbol, symbol.base AS base, symbol.quote AS quote,
       symbol.status AS status, symbol.onboard_ms AS onboard_ms
ORDER BY market, symbol
"""


def batches(rows: Iterable[dict[str, Any]], key: str) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield rows in the order of a key, at most `BATCH` at a time."""
    ordered = sorted(rows, key=lambda row: str(row[key]))
    return (ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH))
