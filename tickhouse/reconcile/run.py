"""One reconciliation: take the truth, read every store, weigh, report; again and again with `wait`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from stack.engine.enabled import enabled_sinks
from tickhouse.errors import ConfigurationError, StoreUnavailable
from tickhouse.reconcile import base as bases
from tickhouse.reconcile import gold, lake, sinks
from tickhouse.reconcile.avro import Decoder, registry_fetch
from tickhouse.reconcile.base import TICKS, TRADES, Base
from tickhouse.reconcile.kafka import Ends, Topics
from tickhouse.reconcile.law import Report, StoreLaw
from tickhouse.reconcile.stores import (
    EnrichedStore,
    Judged,
    LakeStore,
    PostgresStore,
    RedisStore,
    Store,
    check_broken,
    check_dead_letters,
    check_lake_ticks,
    check_ticks,
)
from tickhouse.reconcile.synthetic import load_exchange
from tickhouse.reconcile.truth import Truth, load_files
from tickhouse.reconcile.verdict import Verdict
from tickhouse.settings import Settings

# Those of profile core; what profile sinks adds takes part when it is enabled.
STORES = ("kafka", "enriched", "lake", "postgres", "redis")
SINKS = tuple(name for names in sinks.STORES_OF.values() for name in names)
# Between two looks of --wait: Spark's lake trigger is 10 s and more, so looking more often would only cost CPU.
PAUSE_S = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What to check: stores by name (all enabled ones by default), the lake's ref, how many examples of each fault.

    `gold` names a ref whose gold candles are held against the truth as well.
    """

    stores: tuple[str, ...] = ()
    ref: str = "ingest"
    limit: int = 5
    gold: str = ""

    def __post_init__(self) -> None:
        known = STORES + SINKS
        unknown = [name for name in self.stores if name not in known]
        if unknown:
            raise ConfigurationError(f"Expected stores of {', '.join(known)}, was {', '.join(unknown)}.")


@dataclass
class Clients:
    """Connections, and the moment at which the check began: truth and ends of the topics."""

    settings: Settings
    topics: Topics
    decoder: Decoder
    truth: Truth
    first_ends: Mapping[str, Ends]

    def stores(self, options: Options) -> list[Store]:
        """Return the chosen stores beside Kafka."""
        makers: dict[str, Callable[[], Store]] = {
            "enriched": lambda: EnrichedStore(self.topics, self.decoder),
            "lake": lambda: LakeStore(lake.connect(self.settings, options.ref)),
            "postgres": lambda: PostgresStore(self.settings.database_dsn("reader")),
            "redis": lambda: RedisStore(self.settings.redis_dsn()),
        }
        found = [make() for name, make in makers.items() if name in options.stores]
        return found + [store for name, store in sinks.stores(self.settings).items() if name in options.stores]


@contextmanager
def connected(settings: Settings) -> Iterator[Clients]:
    """Take the truth as it is now and connect to Kafka and the registry.

    Raises:
        StoreUnavailable: One of them does not answer.
        ConfigurationError: The record of what was offered does not parse.
    """
    truth = Truth()
    load_files(settings.home, truth)
    load_exchange(settings.home, truth)
    topics = Topics(settings.kafka_bootstrap_servers)
    with httpx.Client(timeout=10) as client:
        try:
            ends = {topic: topics.ends(topic) for topic in (TRADES, TICKS)}
            decoder = Decoder(registry_fetch(settings.schema_registry_url, client))
            yield Clients(settings, topics, decoder, truth, ends)
        finally:
            topics.close()


def reconcile(settings: Settings, options: Options, say: Say, wait_s: float = 0.0) -> Report:
    """Check until all is right or the time is out, and return the last report.

    A store that does not answer is asked again while there is time.

    Args:
        settings: Addresses.
        options: What to check.
        say: Receives one line of progress at a time.
        wait_s: For how long to look again; 0 looks once.

    Raises:
        StoreUnavailable: A store did not answer until the end; the message names it.
    """
    deadline = time.monotonic() + wait_s
    options = options if options.stores else replace(options, stores=enabled_stores(settings))
    say("reading what the exchange offered")
    with connected(settings) as clients:
        while True:
            try:
                report = look(clients, options, say)
                if report.ok or time.monotonic() >= deadline:
                    return report
                say(f"{summary(report)}; looking again for {deadline - time.monotonic():.0f} s")
            except StoreUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                say(f"{error.message} Looking again for {deadline - time.monotonic():.0f} s")
            time.sleep(min(PAUSE_S, max(0.0, deadline - time.monotonic())))


def enabled_stores(settings: Settings) -> tuple[str, ...]:
    """Return the stores that should hold every event in this home."""
    return STORES + tuple(name for store in enabled_sinks(settings) for name in sinks.STORES_OF[store])


def look(clients: Clients, options: Options, say: Say) -> Report:
    """Read everything once."""
    say("reading Kafka")
    base = bases.check(clients.topics, clients.decoder, clients.truth, clients.first_ends[TRADES], options.limit)
    judged = Judged(base, clients.truth, options.limit)
    stores = {"kafka": base.kafka} if "kafka" in options.stores else {}
    for store in clients.stores(options):
        say(f"reading {store.name}")
        stores[store.name] = store.check(judged)
    say("reading ticks and dead letters")
    return weigh(judged, stores, _checks(clients, options, judged))


def _checks(clients: Clients, options: Options, judged: Judged) -> dict[str, Verdict]:
    ticks, ids = check_ticks(clients.topics, clients.decoder, judged)
    checks = {"ticks": ticks}
    if "lake" in options.stores:
        store = lake.connect(clients.settings, options.ref)
        checks["lake ticks"] = check_lake_ticks(store, ids, clients.first_ends[TICKS], judged)
    if "elasticsearch" in options.stores:
        checks["search ticks"] = sinks.check_search_ticks(clients.settings, ids, options.limit)
    checks["dlq.producer"] = check_dead_letters(judged)
    if "enriched" in options.stores or "lake" in options.stores:
        checks["dlq.spark"] = check_broken(clients.topics, judged, clients.settings.database_dsn("reader"))
    checks["ledger"] = Verdict("ledger", limit=options.limit)
    bases.check_ledger(judged.base, judged.truth, checks["ledger"])
    if options.gold:
        checks |= gold.check(lake.connect(clients.settings, options.gold), judged.base.expected.each(), options.limit)
    return checks


def weigh(judged: Judged, stores: Mapping[str, Verdict], checks: Mapping[str, Verdict]) -> Report:
    """Put the verdicts together under the conservation law (pure)."""
    base, truth, letters = judged.base, judged.truth, checks["dlq.producer"]
    duplicates = bases.known_duplicates(truth, base.copies)
    rejected = letters.delivered if base.is_complete else letters.distinct
    wanted = len(judged.rejections) if base.is_complete else letters.distinct
    offered = base.expected.count + wanted + duplicates
    return Report(
        offered=offered,
        rejected=rejected,
        known_duplicates=duplicates,
        gaps=bases.gaps_of(base),
        ids=bases.id_law(base, truth),
        stores=dict(stores),
        laws={
            name: StoreLaw(offered, verdict.delivered, rejected, duplicates)
            for name, verdict in stores.items()
            if name != "redis"  # holds the last trade only: nothing to conserve
        },
        checks=dict(checks),
        truth=truth_document(truth, base),
    )


def truth_document(truth: Truth, base: Base) -> dict[str, Any]:
    """Return where the expectation came from."""
    return {
        "sources": truth.sources,
        "trades": truth.count,
        "rejections": len(truth.rejections),
        "is_recorded": bool(truth.sources),
        "kafka_is_truth_for": sorted(map(str, base.own)),
    }


def summary(report: Report) -> str:
    """Return the faults in one line."""
    wrong = {name: verdict for name, verdict in {**report.stores, **report.checks}.items() if not verdict.ok}
    parts = [
        f"{name}: " + ", ".join(f"{count} {fault}" for fault, count in verdict.faults.items() if count)
        for name, verdict in wrong.items()
    ]
    return "; ".join(parts) or "the conservation law does not hold"
