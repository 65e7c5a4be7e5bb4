"""What the graph is made of: files of a lake commit, and exchangeInfo."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx
from lakefs.models import ObjectInfo

from common.clients.lake_files import RefFiles
from common.clients.lakefs import lake_errors, repository
from common.errors import ExchangeUnavailable
from common.settings import Settings
from producer.exchange.rest import RestClient
from producer.exchange.rest_responses import ExchangeRefused
from tickhouse.graph.symbols import SymbolRow, listed_symbols

HOURS_TABLE = "gold/candles_1h"
MOVERS_TABLE = "gold/top_movers"
_DATE = re.compile(r"/date=(\d{4}-\d{2}-\d{2})/")


@dataclass(frozen=True, slots=True)
class GraphCommit:
    """A commit, and the checksum of each day's hourly candles.

    Attributes:
        commit_id: The commit.
        committed_at: Seconds since 1970.
        days: Checksum by day, YYYY-MM-DD; it depends on the names and contents of the files.
    """

    commit_id: str
    committed_at: int
    days: dict[str, str]


def read_commit(settings: Settings, ref: str) -> GraphCommit:
    """Return what a branch, tag or commit is now.

    Raises:
        ConfigurationError: There is no such reference.
        StoreUnavailable: The lake does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        commit = lake.ref(ref).get_commit()
        days: dict[str, list[str]] = {}
        for entry in lake.ref(commit.id).objects(prefix=f"{HOURS_TABLE}/", amount=1000):
            found = _DATE.search(entry.path)
            if found and isinstance(entry, ObjectInfo) and entry.path.endswith(".parquet"):
                days.setdefault(found[1], []).append(entry.checksum)
    checksums = {date: " ".join(sorted(parts)) for date, parts in sorted(days.items())}
    return GraphCommit(str(commit.id), int(commit.creation_date), checksums)


def read_day(settings: Settings, commit_id: str, table: str, date: str) -> list[dict[str, Any]]:
    """Return the rows of one day of a table of gold.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    lake = RefFiles.connect(settings, commit_id)
    parts = [lake.table(path) for path in lake.parquet_files(f"{table}/date={date}")]
    return [row for part in parts if part is not None for row in part.to_pylist()]


def read_listed(
    settings: Settings, markets: Iterable[str], say: Callable[[str], None]
) -> tuple[list[SymbolRow], set[str]]:
    """Return the symbols that the exchange lists, and the markets for which it answered.

    A market without an answer keeps the symbols that the graph and the lake know.

    Args:
        settings: The exchange's address.
        markets: spot, usdm, coinm.
        say: Receives one line per market without an answer.
    """
    found: list[SymbolRow] = []
    answered: set[str] = set()
    for market in sorted(set(markets)):
        try:
            found += asyncio.run(_listed(settings, market))
        except (ExchangeUnavailable, ExchangeRefused) as error:
            say(f"exchangeInfo of {market} was not read, so its listings stay as they are: {error}")
        else:
            answered.add(market)
    return found, answered


async def _listed(settings: Settings, market: str) -> list[SymbolRow]:
    async with httpx.AsyncClient() as http:
        client = RestClient(http, settings.exchange_rest_url, market, clock=time.time)
        return listed_symbols(market, (await client.exchange_info()).symbols)
