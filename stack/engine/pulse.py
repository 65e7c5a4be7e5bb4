"""What the pipeline holds right now: Kafka, the streaming queries' lag, candles, latest prices, lake, enabled sinks.

Each section reads one system and is independent of the others: one that is down says so and hides nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from stack.engine import pulse_sinks
from stack.engine.probe import tcp_answers
from tickhouse.errors import ServiceNotReady, StoreUnavailable, TickhouseError
from tickhouse.settings import REPO, Settings, home

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

# One screen refresh must not hang on a dying server.
ANSWER_S = 5.0

TOPICS_FILE = REPO / "schemas" / "topics.yaml"
DEAD_LETTERS = "dlq."

Section = dict[str, Any]
Offsets = dict[str, dict[int, int]]


def pulse(settings: Settings) -> dict[str, Section]:
    """Return every section by name; one that cannot be read is {"error": {"type", "message"}}."""
    sections: dict[str, Callable[[Settings], Section]] = {
        "kafka": kafka,
        "candles": candles,
        "latest": latest_prices,
        "lake": lake,
        **pulse_sinks.sections(settings),
    }
    with ThreadPoolExecutor(max_workers=len(sections)) as pool:
        return dict(zip(sections, pool.map(lambda read: _tolerant(read, settings), sections.values()), strict=True))


def kafka(settings: Settings) -> Section:
    """Return records by topic, dead letters by topic, lag by consumer, and the age of the newest trade.

    Raises:
        ServiceNotReady: Kafka does not answer.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # re-exported without __all__

    from stack.kafka.setup import admin

    _require(settings.kafka_bootstrap_servers.split(",")[0], "Kafka", "kafka")
    client = admin(settings.kafka_bootstrap_servers)
    wanted = set(yaml.safe_load(TOPICS_FILE.read_text())["topics"])
    try:
        topics = {
            name: sorted(topic.partitions)
            for name, topic in client.list_topics(timeout=ANSWER_S).topics.items()
            if name in wanted or name.startswith(DEAD_LETTERS)
        }
        ends = _offsets(client, topics, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        begins = _offsets(client, topics, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        newest = _newest_timestamp(client, {"crypto.trades": topics.get("crypto.trades", [])})
        groups = _group_offsets(client)
    except KafkaException as error:
        raise ServiceNotReady(f"Kafka does not answer: {error}.", next_command="tickhouse logs kafka") from error
    records = {name: sum(ends[name].values()) - sum(begins[name].values()) for name in sorted(topics)}
    return {
        "records": records,
        "dead_letters": {name: count for name, count in records.items() if name.startswith(DEAD_LETTERS)},
        "lag_records": lag_records(ends, begins, {**groups, **streaming_offsets(home() / "stream" / "checkpoints")}),
        "newest_trade_age_s": None if newest is None else round(time.time() - newest / 1000, 1),
    }


def lag_records(ends: Offsets, begins: Offsets, consumers: Mapping[str, Offsets]) -> dict[str, int]:
    """Return how many records each consumer has yet to read; one that has read nothing has all before it."""
    lags = {}
    for consumer, read in consumers.items():
        known = {topic: partitions for topic, partitions in read.items() if topic in ends}
        lags[consumer] = sum(
            max(0, end - max(partitions.get(partition, 0), begins[topic].get(partition, 0)))
            for topic, partitions in known.items()
            for partition, end in ends[topic].items()
        )
    return lags


def streaming_offsets(checkpoints: Path) -> dict[str, Offsets]:
    """Return the next offsets of each streaming query, as its checkpoint has them committed.

    A Spark checkpoint keeps one file a batch in `commits` and `offsets`; an offsets file holds a version line, a
    metadata line, then one JSON line a source.
    """
    found = {}
    for query in sorted(checkpoints.glob("*")):
        batches = [int(path.name) for path in (query / "commits").glob("*") if path.name.isdigit()]
        path = query / "offsets" / str(max(batches, default=0))
        if batches and path.exists():
            found[f"stream:{query.name}"] = _parse_offsets(path.read_text().splitlines()[2:])
    return found


def candles(settings: Settings) -> Section:
    """Return rows by stream and the newest bar of PostgreSQL.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    import psycopg

    question = """
        SELECT market || '/' || stream, count(*), sum(trades)::bigint, max(open_time)
        FROM market.candles_1m GROUP BY 1
    """
    with _store_errors("PostgreSQL", "postgres", psycopg.Error):
        dsn = settings.database_dsn("reader")
        with psycopg.connect(dsn, connect_timeout=int(ANSWER_S)) as connection:
            rows = connection.execute(question).fetchall()
    return {
        "rows": sum(row[1] for row in rows),
        "trades": sum(row[2] for row in rows),
        "by_stream": {row[0]: row[1] for row in rows},
        "newest_bar": max((row[3] for row in rows), default=None),
    }


def latest_prices(settings: Settings) -> Section:
    """Return how many streams Redis holds a latest price of, and how old the newest is.

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
    """Return the head of branch `ingest`: commit, when, message and metadata.

    Raises:
        StoreUnavailable: The lakeFS endpoint does not answer.
    """
    from lakefs.exceptions import LakeFSException
    from urllib3.exceptions import HTTPError

    from tickhouse.lake.client import INGEST, repository

    _require(urlsplit(settings.lakefs_endpoint).netloc, "lakeFS", "lakefs")
    with _store_errors("lakeFS", "lakefs", LakeFSException, HTTPError):
        commit = repository(settings).branch(INGEST).get_commit()  # type: ignore[no-untyped-call]
    return {
        "branch": INGEST,
        "commit": commit.id,
        "age_s": round(time.time() - commit.creation_date),
        "message": commit.message,
        "rows": json.loads((commit.metadata or {}).get("rows", "{}")),
    }


def _tolerant(read: Callable[[Settings], Section], settings: Settings) -> Section:
    try:
        return read(settings)
    except TickhouseError as error:
        return {"error": {"type": type(error).__name__, "message": error.message}}


def _require(address: str, title: str, service: str) -> None:
    if not tcp_answers(address):
        raise ServiceNotReady(f"{title} at {address} does not answer.", next_command=f"tickhouse logs {service}")


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


def _offsets(client: AdminClient, topics: Mapping[str, Iterable[int]], at: object) -> Offsets:
    offsets: Offsets = {name: {} for name in topics}
    for partition, answer in _list_offsets(client, topics, at):
        offsets[partition.topic][partition.partition] = answer.offset
    return offsets


def _newest_timestamp(client: AdminClient, topics: Mapping[str, Iterable[int]]) -> int | None:
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # re-exported without __all__

    newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    times = [answer.timestamp for _, answer in _list_offsets(client, topics, newest)]
    return max((stamp for stamp in times if stamp > 0), default=None)


def _list_offsets(client: AdminClient, topics: Mapping[str, Iterable[int]], at: object) -> list[tuple[Any, Any]]:
    from confluent_kafka import TopicPartition

    asked: dict[Any, Any] = {TopicPartition(name, number): at for name in topics for number in topics[name]}
    if not asked:
        return []
    answers = client.list_offsets(asked, request_timeout=ANSWER_S)
    return [(partition, future.result()) for partition, future in answers.items()]


def _group_offsets(client: AdminClient) -> dict[str, Offsets]:
    from confluent_kafka import ConsumerGroupTopicPartitions

    groups = [one.group_id for one in client.list_consumer_groups(request_timeout=ANSWER_S).result().valid]
    found: dict[str, Offsets] = {}
    for group in groups:
        request = [ConsumerGroupTopicPartitions(group)]
        answer = client.list_consumer_group_offsets(request, request_timeout=ANSWER_S)[group].result()
        offsets: Offsets = {}
        for one in answer.topic_partitions or []:
            if one.offset >= 0:
                offsets.setdefault(one.topic, {})[one.partition] = one.offset
        if offsets:
            found[group] = offsets
    return found


def _parse_offsets(lines: Iterable[str]) -> Offsets:
    sources = [json.loads(line) for line in lines if line.startswith("{")]
    return {
        topic: {int(number): int(offset) for number, offset in partitions.items()}
        for source in sources
        for topic, partitions in source.items()
    }
