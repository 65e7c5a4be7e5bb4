"""Run one reconciliation: load the offered events, read every store, compare, and report.

With `wait_s` the check is repeated until it passes or the time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from common.clients.postgres import read_only
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings
from stack.engine import supervisor
from stack.engine.enabled import enabled_sinks, is_graph_enabled, is_series_enabled, is_statistics_enabled
from tickhouse.checks.reconcile import connect_sinks, gold, id_law, influxdb, kafka_check, lake_bronze, postgres
from tickhouse.checks.reconcile.avro import ValueDecoder, registry_fetch
from tickhouse.checks.reconcile.conservation_law import ReconcileReport, StoreLaw
from tickhouse.checks.reconcile.expired import Removed
from tickhouse.checks.reconcile.kafka import Ends, TopicScanner
from tickhouse.checks.reconcile.kafka_check import TICKS, TRADES, KafkaResult
from tickhouse.checks.reconcile.lost_offsets import unrepaired
from tickhouse.checks.reconcile.offered_events import OfferedEvents, load_files, replayed
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.stores import (
    CheckContext,
    EnrichedStore,
    GeodeStore,
    GraphStore,
    LakeStore,
    PostgresStore,
    RedisStore,
    StoreCheck,
    check_broken,
    check_dead_letters,
    check_lake_ticks,
    check_ticks,
)
from tickhouse.checks.reconcile.synthetic_market import load_exchange

# The stores of profile core. The stores of the other profiles are checked when they are enabled.
STORES = ("kafka", "enriched", "lake", "postgres", "redis")
SINKS = tuple(name for names in connect_sinks.STORES_OF.values() for name in names)
SERIES = "influxdb"
# Stores of profile stores that do not hold each event, likewise.
DERIVED = ("geode", "neo4j")
# Stores that by design do not hold each event, so the conservation law does not apply: the last
# trade of a stream, its last 24 hours, and hours.
PARTIAL = ("redis", *DERIVED)
ALL_STORES = (*STORES, *SINKS, SERIES, *DERIVED)
# The streaming query that feeds a store.
_QUERY_OF = {
    "enriched": "enriched", "lake": "lake_trades", "postgres": "candles", "redis": "last",
    "geode": "statistics", SERIES: "series",
}  # fmt: skip
# Pause between two checks of --wait. Spark writes to the lake every 10 s or less often, so more
# frequent checks would only cost CPU.
PAUSE_S = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What to check.

    Attributes:
        stores: Names of stores; all enabled ones by default.
        ref: The lake's ref.
        limit: How many examples of each kind of fault to keep.
        gold: A ref whose gold candles are also compared with what was offered; empty for none.
        without: Stores that are not read, and replayed files (path or name) of which only Kafka's
            copy counts.
    """

    stores: tuple[str, ...] = ()
    ref: str = "ingest"
    limit: int = 5
    gold: str = ""
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.stores if name not in ALL_STORES]
        if unknown:
            raise ConfigurationError(f"Expected stores of {', '.join(ALL_STORES)}, was {', '.join(unknown)}.")

    @property
    def files_left_out(self) -> list[str]:
        """Return the names in `without` that are no stores."""
        return [name for name in self.without if name not in ALL_STORES]

    def chosen(self, enabled: Sequence[str]) -> Options:
        """Return these options with the stores to read: the named ones, else the enabled ones.

        Raises:
            ConfigurationError: None is left.
        """
        stores = tuple(name for name in self.stores or enabled if name not in self.without)
        if not stores:
            raise ConfigurationError("No store is left to compare.", next_command="tickhouse reconcile")
        return replace(self, stores=stores)


def names_of_files(home: Path) -> set[str]:
    """Return paths and names of the replayed files."""
    paths = [Path(entry["path"]) for entry in replayed(home / "truth" / "files.jsonl")]
    return {*map(str, paths), *(path.name for path in paths)}


@dataclass
class Clients:
    """The connections, the offered events, and the ends of the topics when the check began."""

    settings: Settings
    topics: TopicScanner
    decoder: ValueDecoder
    truth: OfferedEvents
    first_ends: Mapping[str, Ends]

    def stores(self, options: Options) -> list[StoreCheck]:
        """Return the chosen stores, except Kafka."""
        makers: dict[str, Callable[[], StoreCheck]] = {
            "enriched": lambda: EnrichedStore(self.topics, self.decoder),
            "lake": lambda: LakeStore(lake_bronze.connect(self.settings, options.ref)),
            "postgres": lambda: PostgresStore(self.settings.database_dsn("reader")),
            "redis": lambda: RedisStore(self.settings.redis_dsn()),
            SERIES: lambda: influxdb.InfluxStore(self.settings),
            "geode": lambda: GeodeStore(self.settings),
            "neo4j": lambda: GraphStore(self.settings),
        }
        core = [make() for name, make in makers.items() if name in options.stores]
        return core + [store for name, store in connect_sinks.stores(self.settings).items() if name in options.stores]


@contextmanager
def connected(settings: Settings, without: Sequence[str] = ()) -> Iterator[Clients]:
    """Load what was offered until now, and connect to Kafka and the registry.

    Args:
        settings: Addresses.
        without: Replayed files that are not read.

    Raises:
        StoreUnavailable: One of them does not answer.
        ConfigurationError: The record of what was offered does not parse.
    """
    truth = OfferedEvents()
    load_files(settings.home, truth, without)
    load_exchange(settings.home, truth)
    topics = TopicScanner(settings.kafka_bootstrap_servers)
    with httpx.Client(timeout=10) as client:
        try:
            ends = {topic: topics.ends(topic) for topic in (TRADES, TICKS)}
            decoder = ValueDecoder(registry_fetch(settings.schema_registry_url, client))
            yield Clients(settings, topics, decoder, truth, ends)
        finally:
            topics.close()


def reconcile(settings: Settings, options: Options, say: Say, wait_s: float = 0.0) -> ReconcileReport:
    """Check until there is no fault or the time is over, and return the last report.

    A store that does not answer is asked again until the time is over.

    Args:
        settings: Addresses.
        options: What to check.
        say: Receives one line of progress at a time.
        wait_s: For how long to repeat the check; 0 checks once.

    Raises:
        StoreUnavailable: A store did not answer until the end; the message names it.
    """
    deadline = time.monotonic() + wait_s
    options = options.chosen(enabled_stores(settings))
    say("reading what the exchange offered")
    with connected(settings, options.files_left_out) as clients:
        while True:
            try:
                report = check_once(clients, options, say)
                if report.ok or time.monotonic() >= deadline:
                    return report
                say(f"{summary(report)}; checking again for {deadline - time.monotonic():.0f} s")
            except StoreUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                say(f"{error.message} Checking again for {deadline - time.monotonic():.0f} s")
            time.sleep(min(PAUSE_S, max(0.0, deadline - time.monotonic())))


def enabled_stores(settings: Settings) -> tuple[str, ...]:
    """Return the stores that should hold every event in this home."""
    sinks = (name for store in enabled_sinks(settings) for name in connect_sinks.STORES_OF[store])
    optional = {
        SERIES: is_series_enabled(settings),
        "geode": is_statistics_enabled(settings),
        "neo4j": is_graph_enabled(settings),
    }
    return (*STORES, *sinks, *(name for name, is_enabled in optional.items() if is_enabled))


def check_once(clients: Clients, options: Options, say: Say) -> ReconcileReport:
    """Read and compare every store once."""
    say("reading Kafka")
    removals = removed(clients.settings)
    ends = clients.first_ends[TRADES]
    base = kafka_check.check(clients.topics, clients.decoder, clients.truth, ends, options.limit, removals=removals)
    context = CheckContext(base, clients.truth, options.limit)
    stores = {"kafka": base.kafka} if "kafka" in options.stores else {}
    lost = unrepaired(clients.settings.home)
    for store in clients.stores(options):
        say(f"reading {store.name}")
        stores[store.name] = store.check(context)
        for offsets in lost.get(_QUERY_OF.get(store.name, ""), []):
            stores[store.name].notes.append(f"its query lost {offsets}: tickhouse stream repair")
    say("reading ticks and dead letters")
    return report_of(context, stores, _checks(clients, options, context))


def removed(settings: Settings) -> list[Removed]:
    """Return what retention removed; nothing when this home has no PostgreSQL.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    if "postgres" not in supervisor.states() and not settings.is_external("database_url"):
        return []
    with read_only(settings.database_dsn("reader")) as connection:
        return postgres.removals(connection)


def _checks(clients: Clients, options: Options, context: CheckContext) -> dict[str, StoreResult]:
    ticks, ids = check_ticks(clients.topics, clients.decoder, context)
    checks = {"ticks": ticks}
    if "lake" in options.stores:
        store = lake_bronze.connect(clients.settings, options.ref)
        checks["lake ticks"] = check_lake_ticks(store, ids, clients.first_ends[TICKS], context)
    if "elasticsearch" in options.stores:
        checks["search ticks"] = connect_sinks.check_search_ticks(clients.settings, ids, options.limit)
    checks["dlq.producer"] = check_dead_letters(context)
    if "enriched" in options.stores or "lake" in options.stores:
        checks["dlq.spark"] = check_broken(clients.topics, context, clients.settings.database_dsn("reader"))
    checks["ledger"] = StoreResult("ledger", limit=options.limit)
    id_law.check_ledger(context.base, context.truth, checks["ledger"])
    if options.gold:
        checks |= gold.check(
            lake_bronze.connect(clients.settings, options.gold), context.base.expected.each(), options.limit
        )
    return checks


def report_of(
    context: CheckContext, stores: Mapping[str, StoreResult], checks: Mapping[str, StoreResult]
) -> ReconcileReport:
    """Put the results together under the conservation law (pure)."""
    base, truth, letters = context.base, context.truth, checks["dlq.producer"]
    duplicates = id_law.known_duplicates(truth, base.copies)
    rejections = context.rejections if base.is_complete else [*base.letters.each()]
    bad_copies = id_law.resolved(base, rejections)  # their ids are delivered, and count there
    resolved = base.letters.matching(bad_copies)
    rejected = (letters.delivered if base.is_complete else letters.distinct) - resolved
    offered = base.expected.count + len(rejections) - len(bad_copies) + duplicates
    return ReconcileReport(
        offered=offered,
        rejected=rejected,
        resolved=resolved,
        known_duplicates=duplicates,
        gaps=id_law.gaps_of(base),
        ids=id_law.id_law(base, truth),
        stores=dict(stores),
        laws={
            name: StoreLaw(offered, result.delivered, rejected, duplicates, result.expired)
            for name, result in stores.items()
            if name not in PARTIAL
        },
        checks=dict(checks),
        truth=truth_document(truth, base),
    )


def truth_document(truth: OfferedEvents, base: KafkaResult) -> dict[str, Any]:
    """Return the sources of the record of offered events, as JSON-ready values."""
    return {
        "sources": truth.sources,
        "trades": truth.count,
        "rejections": len(truth.rejections),
        "is_recorded": bool(truth.sources),
        "kafka_is_truth_for": sorted(map(str, base.own)),
        "left_out": truth.left_out,
    }


def summary(report: ReconcileReport) -> str:
    """Return the number of faults of each store and check in one line."""
    wrong = {name: result for name, result in {**report.stores, **report.checks}.items() if not result.ok}
    parts = [
        f"{name}: " + ", ".join(f"{count} {fault}" for fault, count in result.faults.items() if count)
        for name, result in wrong.items()
    ]
    return "; ".join(parts) or "the conservation law does not hold"
