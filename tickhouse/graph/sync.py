"""Make the graph equal to a commit of the lake, and record how symbols are listed.

Delivery guarantee: exactly the hours of the commit. The order is:

1. Constraints, and whether the trades are real or synthetic.
2. Symbols with their assets, pairs and changes of status.
3. Each day whose files changed since the last synchronization: hours that the commit does not have
   are removed, the others are merged, and last the day's checksum is stored.
4. Days that the commit does not have are removed.
5. The commit id is stored.

Each step may be repeated. A call that was killed leaves days that the next call finishes, because
their checksum is not stored yet. A second call for the same commit writes nothing, unless the
exchange changed a listing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.clients.neo4j import Graph, connected
from common.errors import ConfigurationError
from common.market_kind import Kind, kind_of
from common.settings import Settings
from tickhouse.graph import source, statements
from tickhouse.graph.hours import hour_rows
from tickhouse.graph.symbols import SymbolRow, changed_rows, merged, traded_symbols, with_gone
from tickhouse.lineage.events import record
from tickhouse.lineage.runs import graph_run

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class GraphSync:
    """What one synchronization did; all counts are 0 when there was nothing to do.

    Attributes:
        commit_id: The commit that the graph equals.
        symbols: Symbols that were new or different.
        listings: Changes of status that were recorded.
        days: Days that were loaded or removed.
        hours: Hours in those days.
    """

    commit_id: str
    symbols: int
    listings: int
    days: int
    hours: int


def sync(settings: Settings, ref: str, say: Say = lambda line: None) -> GraphSync:
    """Make the graph equal to a branch, tag or commit.

    Args:
        settings: Addresses.
        ref: Branch, tag or commit.
        say: Receives one line per market whose exchangeInfo was not read.

    Raises:
        ConfigurationError: There is no such reference, or the graph holds a newer commit, or trades
            of the other kind (real, synthetic).
        StoreUnavailable: The lake or Neo4j does not answer.
    """
    commit = source.read_commit(settings, ref)
    with connected(settings, "writer") as graph:
        refuse_older(graph.read(statements.READ_COMMIT), commit)
        kind = kind_of(settings.home)
        refuse_other_kind(graph.read(statements.READ_KIND), kind)
        for statement in (*statements.CONSTRAINTS, *statements.INDEXES):
            graph.write(statement)
        if kind:
            graph.write(statements.CLAIM, {"market_kind": kind})
        before = {row["date"]: row["checksum"] for row in graph.read(statements.READ_DAYS)}
        changed = [date for date, checksum in commit.days.items() if before.get(date) != checksum]
        movers = [
            row for day in changed for row in source.read_day(settings, commit.commit_id, source.MOVERS_TABLE, day)
        ]
        symbols, listings = _sync_symbols(settings, graph, traded_symbols(movers), say)
        hours = sum(_load_day(settings, graph, commit, date) for date in changed)
        gone = sorted(before.keys() - commit.days.keys())
        for date in gone:
            _replace_day(graph, date, ())
            graph.write(statements.FORGET_DAY, {"date": date})
        loaded = {"commit_id": commit.commit_id, "committed_at": commit.committed_at}
        graph.write(statements.LOADED_COMMIT, loaded)
    record(settings, graph_run(settings, commit.commit_id, (source.HOURS_TABLE, source.MOVERS_TABLE)))
    return GraphSync(commit.commit_id, symbols, listings, len(changed) + len(gone), hours)


def refuse_older(loaded: Sequence[dict[str, Any]], commit: source.GraphCommit) -> None:
    """Require that the graph holds no newer commit than the one that is to be loaded.

    Raises:
        ConfigurationError: It does; a rollback of the lake makes a new commit, so it passes.
    """
    for row in loaded:
        if row["commit_id"] != commit.commit_id and row["committed_at"] > commit.committed_at:
            newer = datetime.fromtimestamp(row["committed_at"], UTC).isoformat()
            raise ConfigurationError(
                f"Commit {commit.commit_id[:12]} is older than commit {row['commit_id'][:12]} of {newer}, "
                "which the graph holds.",
                safe="The graph is unchanged.",
                next_command="tickhouse graph sync --ref main",
            )


def refuse_other_kind(loaded: Sequence[dict[str, Any]], kind: Kind | None) -> None:
    """Require that the graph does not hold trades of the other kind.

    Raises:
        ConfigurationError: One is real and the other synthetic.
    """
    for row in loaded:
        if kind and row["market_kind"] not in (None, kind):
            raise ConfigurationError(
                f"The graph holds a {row['market_kind']} market, and this lakehouse a {kind} one.",
                safe="The graph is unchanged.",
                next_command="give another NEO4J_URL",
            )


def _sync_symbols(settings: Settings, graph: Graph, traded: list[SymbolRow], say: Say) -> tuple[int, int]:
    known = [SymbolRow(**row) for row in graph.read(statements.READ_SYMBOLS)]
    markets = {one.market for one in (*known, *traded)}
    listed, answered = source.read_listed(settings, markets, say)
    # What the graph knows from the exchange is better than what the lake guesses.
    current = merged([*with_gone(known, listed, answered), *listed], merged(known, traded))
    # To the microsecond: the time is part of a listing's id, and a status may change twice within
    # a second.
    rows = changed_rows(known, current, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    paired = [row for row in rows if row["quote"]]
    _write(graph, statements.SYMBOLS, paired, "symbol_id")
    if paired:
        graph.write(statements.FORMER_PAIRS)
    return len(paired), sum(len(row["listings"]) for row in paired)


def _load_day(settings: Settings, graph: Graph, commit: source.GraphCommit, date: str) -> int:
    rows = hour_rows(date, source.read_day(settings, commit.commit_id, source.HOURS_TABLE, date))
    _replace_day(graph, date, rows)
    loaded = {"date": date, "checksum": commit.days[date], "loaded_at_s": int(time.time())}
    graph.write(statements.LOADED_DAY, loaded)
    return len(rows)


def _replace_day(graph: Graph, date: str, rows: Sequence[dict[str, Any]]) -> None:
    graph.write(statements.REMOVE_HOURS, {"date": date, "kept": [row["hour_id"] for row in rows]})
    _write(graph, statements.HOURS, rows, "hour_id")


def _write(graph: Graph, statement: str, rows: Iterable[dict[str, Any]], key: str) -> None:
    for batch in statements.batches(rows, key):
        graph.write(statement, {"rows": batch})
