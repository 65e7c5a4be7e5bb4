"""Entries per second of our statistics into Geode, against plain bulk writes of the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from bench.bench_stack import BenchStack
from bench.harness import Figures, alternate, at_least, compared
from common.clients.geode import MINUTES, ROOT, STATISTICS, Geode, Value
from common.event_ids import StreamName
from common.settings import Settings
from spark.streaming.statistics import StatisticsBar
from spark.streaming.statistics_sink import StatisticsStore

BOUND = at_least(0.5)
PAIRS = 3
SYMBOLS = 24
MINUTES_PER_BATCH = 10
FIRST_US = 1_754_000_040_000_000
MINUTE_US = 60_000_000
ONE = 10**8
# As many keys as fit into an address; our client sends about as many.
KEYS = 100

Batch = Mapping[StreamName, list[StatisticsBar]]
# The entries of one batch, by region and key.
Entries = list[tuple[str, dict[str, Value]]]


def run(bench: BenchStack) -> Figures:
    """Measure both sides into empty regions."""
    settings = bench.up("geode")
    batches = [*cut(bench.sized(600, 40))]
    with Geode.of(settings, "writer") as client:
        written: list[Entries] = []
        ours(client, batches, written.append)  # warm-up, and the entries of the other side
        entries = sum(len(part) for of_batch in written for _, part in of_batch)

        def empty_first(side: Callable[[], None]) -> Callable[[], float]:
            def timed() -> float:
                for region in (STATISTICS, MINUTES):
                    client.delete(region, client.keys(region))
                begun = time.monotonic()
                side()
                return entries / (time.monotonic() - begun)

            return timed

        mine = empty_first(lambda: ours(client, batches, lambda _: None))
        plain = empty_first(lambda: floor(settings, written))
        plain()
        pairs = alternate(bench.sized(PAIRS, 1), mine, plain, name="geode_put")
    return compared(
        pairs,
        "entries/s",
        how=f"alternate runs into empty regions, {entries} entries in {len(batches)} batches of {SYMBOLS} symbols; "
        "ours: StatisticsStore.apply of bars (lists what is stored, writes minutes and statistics); floor: PUT of the "
        f"same values as finished JSON, {KEYS} keys per request, one connection",
    )


def cut(minutes: int) -> Iterator[Batch]:
    """Yield the bars of a synthetic market, some minutes of all symbols per batch."""
    streams = [StreamName("spot", f"A{number:02d}USDT", "aggTrade") for number in range(SYMBOLS)]
    for first in range(0, minutes, MINUTES_PER_BATCH):
        yield {
            stream: [bar(number, minute) for minute in range(first, first + MINUTES_PER_BATCH)]
            for number, stream in enumerate(streams)
        }


def bar(symbol: int, minute: int) -> StatisticsBar:
    """Return a bar."""
    price = (100 + symbol) * ONE + minute * 1_003
    return StatisticsBar(
        FIRST_US + minute * MINUTE_US, price, price + ONE, price - ONE, price + 7, 5 * ONE, 5 * ONE * price, 12, 8,
        minute * 10, minute * 10 + 7,
    )  # fmt: skip


def ours(client: Geode, batches: list[Batch], keep: Callable[[Entries], Any]) -> None:
    """Apply every batch through the streaming job's own store."""
    recorder = _Recorder(client)
    store = StatisticsStore(recorder)
    for batch in batches:
        store.apply(batch)
        keep(recorder.taken())


class _Recorder(Geode):
    """A client that passes everything on and remembers what was set."""

    def __init__(self, client: Geode) -> None:
        self._client = client
        self._set: Entries = []

    def get_all(self, region: str, keys: Any) -> dict[str, Value]:
        return self._client.get_all(region, keys)

    def keys(self, region: str) -> list[str]:
        return self._client.keys(region)

    def put_all(self, region: str, entries: Mapping[str, Value]) -> None:
        self._set.append((region, dict(entries)))
        self._client.put_all(region, entries)

    def delete(self, region: str, keys: Any) -> None:
        self._client.delete(region, keys)

    def taken(self) -> Entries:
        """Return what was set since the last call."""
        taken, self._set = self._set, []
        return taken


def floor(settings: Settings, written: list[Entries]) -> None:
    """Write the same entries with as little as possible."""
    address, user, password = settings.geode_login("writer")
    with httpx.Client(base_url=address, auth=(user, password), timeout=60, trust_env=False) as client:
        for of_batch in written:
            for region, entries in of_batch:
                items = list(entries.items())
                for at in range(0, len(items), KEYS):
                    part = items[at : at + KEYS]
                    keys = ",".join(quote(key, safe="") for key, _ in part)
                    body: Any = [value for _, value in part] if len(part) > 1 else part[0][1]
                    client.put(f"{ROOT}/{region}?keys={keys}", json=body).raise_for_status()
