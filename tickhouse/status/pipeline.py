"""The state of the pipeline: live producer, Kafka, candles, latest prices, lake, queries, sinks.

Each section reads one system, independently of the others. The section of a system that is down
contains an error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, LiteralString
from urllib.parse import urlsplit

from common.errors import StoreUnavailable, TickhouseError
from common.settings import Settings, home, ports
from tickhouse.live.producer_metrics import producer_section, samples
from tickhouse.live.status import section_of, wanted_or_running
from tickhouse.status import alerts, sinks
from tickhouse.status.kafka import kafka_status
from tickhouse.status.section import ANSWER_S, COUNT_S, Section, require_answer

if TYPE_CHECKING:
    import psycopg

    from common.clients.lake_heads import Head

# The work branches of the nightly batch have the day in their names. A failed audit stays on its
# branch, so the newest branches are looked at as well as `main`.
WORK_BRANCHES = "etl-"
NEWEST_AUDITS = 3


def pipeline_status(settings: Settings) -> dict[str, Section]:
    """Return every section by name; one that cannot be read is {"error": {"type", "message"}}."""
    sections: dict[str, Callable[[Settings], Section]] = {
        "producer": producer,
        **{f"live_{market}": partial(live, market) for market in wanted_or_running(settings.home)},
        "kafka": kafka_status,
        "candles": candles,
        "latest": latest_prices,
        "lake": lake,
        "stream": stream,
        **alerts.sections(settings),
        **sinks.sections(settings),
    }
    with ThreadPoolExecutor(max_workers=len(sections)) as pool:
        results = pool.map(lambda read: _section_or_error(read, settings), sections.values())
        return dict(zip(sections, results, strict=True))


def producer(settings: Settings) -> Section:
    """Return the live producer's metrics: whether it runs, its streams, REST limits, gaps.

    Raises:
        ServiceNotReady: Something listens at its port, but does not answer with metrics.
    """
    found = samples(ports()["producer_metrics"], ANSWER_S, "producer")
    return {"is_running": False} if found is None else producer_section(found)


def live(market: str, settings: Settings) -> Section:
    """Return the state of a market's live job, and what its producer says of itself.

    Raises:
        ServiceNotReady: It listens, but does not answer with metrics.
    """
    return section_of(settings.home, market)


COUNT_CANDLES: LiteralString = """
SELECT market || '/' || stream, count(*), sum(trades)::bigint FROM market.candles_1m GROUP BY 1
"""
# What the last ANALYZE or autovacuum counted; -1 is a partition that was never counted.
ESTIMATE_CANDLES: LiteralString = """
SELECT sum(greatest(c.reltuples, 0))::bigint
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'market.candles_1m'::regclass
"""


def candles(settings: Settings) -> Section:
    """Return the candles in PostgreSQL: rows by stream, trades, newest open time.

    Months of many symbols take long to count. Then `rows` is the server's own estimate,
    `is_estimated` says so, and the other counts are absent.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    import psycopg

    with _store_errors("PostgreSQL", "postgres", psycopg.Error):
        dsn = settings.database_dsn("reader")
        with psycopg.connect(dsn, connect_timeout=int(ANSWER_S), autocommit=True) as connection:
            connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{COUNT_S}s"])
            newest = connection.execute("SELECT max(open_time) FROM market.candles_1m").fetchone()
            return _candle_counts(connection) | {"newest_bar": newest[0] if newest else None}


def _candle_counts(connection: psycopg.Connection) -> Section:
    import psycopg

    try:
        rows = connection.execute(COUNT_CANDLES).fetchall()
    except psycopg.errors.QueryCanceled:
        estimate = connection.execute(ESTIMATE_CANDLES).fetchone()
        return {"rows": estimate[0] if estimate else None, "is_estimated": True}
    return {
        "rows": sum(row[1] for row in rows),
        "trades": sum(row[2] for row in rows),
        "by_stream": {row[0]: row[1] for row in rows},
    }


def latest_prices(settings: Settings) -> Section:
    """Return how many streams have a latest price in Redis, and the age of the newest.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    import redis

    with _store_errors("Redis", "redis", redis.RedisError), closing(_redis(settings)) as client:
        keys = list(client.scan_iter("tickhouse:last:*", count=1000))
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.hget(key, "trade_time_us")
        times = [int(value) for value in pipeline.execute() if value is not None]
    age_s = round(time.time() - max(times) / 1e6, 1) if times else None
    return {"streams": len(keys), "newest_trade_time_age_s": age_s}


def lake(settings: Settings) -> Section:
    """Return the head of branch `ingest`, the age of `main`, and the newest audit.

    Raises:
        StoreUnavailable: The lakeFS endpoint does not answer.
    """
    from common.clients.lake_heads import INGEST, MAIN, LakeHeads

    require_answer(urlsplit(settings.lakefs_endpoint).netloc, "lakeFS", "lakefs")
    with LakeHeads(settings, ANSWER_S) as lake_heads:
        commit, main = (lake_heads.head(name) for name in (INGEST, MAIN))
        work = lake_heads.branches(WORK_BRANCHES)
        audited = [main, *map(lake_heads.head, work[-NEWEST_AUDITS:])]
    now = time.time()
    return {
        "branch": INGEST,
        "commit": commit.id,
        "age_s": round(now - commit.created_s),
        "message": commit.message,
        "rows": json.loads(commit.metadata.get("rows", "{}")),
        "main_age_s": round(now - main.created_s),
        "newest_audit": newest_audit(audited, now),
    }


def newest_audit(commits: Iterable[Head], now_s: float) -> Section | None:
    """Return age, result and report of the newest verdict, None without one (pure)."""
    from tickhouse.lake import audit_verdict

    with_verdict = [commit for commit in commits if audit_verdict.OK in commit.metadata]
    if not with_verdict:
        return None
    newest = max(with_verdict, key=lambda commit: commit.created_s)
    return {
        "age_s": round(now_s - newest.created_s),
        "is_passed": newest.metadata[audit_verdict.OK] == "true",
        "report": newest.metadata.get(audit_verdict.REPORT, ""),
    }


def stream(_: Settings) -> Section:
    """Return the state of each streaming query, and the number of lost offset ranges to repair."""
    from tickhouse.stream.query_state import query_states

    states = query_states(home() / "stream")
    return {
        "query": {query.name: query.in_words for query in states},
        "lost_offset_ranges": sum(len(query.lost) for query in states),
    }


def _section_or_error(read: Callable[[Settings], Section], settings: Settings) -> Section:
    try:
        return read(settings)
    except TickhouseError as error:
        return {"error": {"type": type(error).__name__, "message": error.message}}


@contextmanager
def _store_errors(title: str, service: str, *kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StoreUnavailable(
            f"{title} does not answer: {first_line}", next_command=f"tickhouse logs {service}"
        ) from error


def _redis(settings: Settings) -> Any:  # the stubs of redis-py mix its async answers in
    import redis

    return redis.Redis.from_url(settings.redis_dsn(), socket_timeout=ANSWER_S, decode_responses=True)
