"""Fill real stores with a data set, right or with one wrong row, without code of the pipeline."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import struct
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import fastavro
import httpx
import lakefs
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import redis
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from common.settings import Settings, home
from tests.eventually import eventually
from tests.unit.tickhouse.checks.reconcile.test_lake_bronze import SCHEMA, columns
from tickhouse.checks.reconcile import latest_prices
from tickhouse.checks.reconcile.bars import MinuteBar, bars_of
from tickhouse.checks.reconcile.model import CheckedTrade, kafka_key, plain
from tickhouse.checks.reconcile.postgres import _PLACES

Rows = list[CheckedTrade]
HOUR_US = 3_600_000_000
TOPICS = ("crypto.trades", "crypto.trades.enriched", "crypto.ticks", "dlq.producer", "dlq.spark")


@dataclass
class Plan:
    """The rows of each store; by default every store gets the offered trades.

    Bars and hashes are derived from the offered trades unless they are given.
    """

    offered: Rows
    kafka: Rows | None = None
    enriched: Rows | None = None
    lake: Rows | None = None
    bars: list[MinuteBar] | None = None
    hashes: dict[str, dict[str, str]] | None = None
    bad_lines: list[str] = field(default_factory=list)
    dead_letters: list[tuple[str, str]] = field(default_factory=list)


def _is_done(future: Future[Any]) -> bool:
    """Return whether a request succeeded.

    It fails for a moment after a topic was made, while a partition has no leader.
    """
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
            raise
        return False
    return True


def epoch(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us // 10**6, UTC).replace(microsecond=time_us % 10**6)


class Seeder:
    """Writes to the stores of one stack.

    Args:
        settings: Addresses.
        ref: The branch of the lake to create.
    """

    def __init__(self, settings: Settings, ref: str) -> None:
        self.settings, self.ref = settings, ref
        self.places: dict[str, tuple[int, int]] = {}
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "partitioner": "murmur2_random"}
        )

    def empty(self) -> None:
        """Remove the data of earlier tests, and create the lake's branch."""
        admin = AdminClient({"bootstrap.servers": self.settings.kafka_bootstrap_servers})
        found = admin.list_topics(timeout=10).topics
        ends = [TopicPartition(topic, partition, -1) for topic in TOPICS for partition in found[topic].partitions]
        eventually(lambda: all(_is_done(future) for future in admin.delete_records(ends).values()))
        with psycopg.connect(self.settings.database_dsn("owner")) as connection:
            connection.execute("TRUNCATE market.candles_1m, market.trade_ranges")
        with redis.Redis.from_url(self.settings.redis_dsn()) as client:
            client.flushdb()
        (home() / "truth" / "files.jsonl").unlink(missing_ok=True)
        self.repository.branch(self.ref).create("main")

    @cached_property
    def repository(self) -> lakefs.Repository:
        client = lakefs.Client(
            host=self.settings.lakefs_endpoint,
            username=self.settings.lakefs_access_key_id,
            password=self.settings.lakefs_secret_access_key.get_secret_value(),
        )
        return lakefs.Repository(self.settings.lake_repository, client)

    def write(self, plan: Plan) -> None:
        """Write all rows of a plan."""
        self.truth(plan)
        self.kafka("crypto.trades", plan.offered if plan.kafka is None else plan.kafka, self.trade_value)
        self._producer.flush(30)
        enriched = plan.offered if plan.enriched is None else plan.enriched
        self.kafka("crypto.trades.enriched", enriched, self.enriched_value)
        for key, reason in plan.dead_letters:
            self.dead_letter(key, reason)
        self._producer.flush(30)
        self.lake(plan.offered if plan.lake is None else plan.lake)
        bars = list(bars_of(plan.offered).values()) if plan.bars is None else plan.bars
        self.postgres(bars, plan.offered)
        hashes = redis_hashes(plan.offered) if plan.hashes is None else plan.hashes
        with redis.Redis.from_url(self.settings.redis_dsn()) as client:
            for name, fields in hashes.items():
                client.hset(name, mapping=fields)

    def truth(self, plan: Plan) -> None:
        """Write the file that was replayed and its record."""
        folder = home() / "truth"
        folder.mkdir(parents=True, exist_ok=True)
        path: Path = folder / "offered.jsonl"
        path.write_text("".join(f"{line}\n" for line in [*map(frame, plan.offered), *plan.bad_lines]))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = {"path": str(path), "sha256": digest, "market": "spot", "symbol": None, "format": "frames"}
        (folder / "files.jsonl").write_text(json.dumps(entry) + "\n")

    def kafka(self, topic: str, trades: Iterable[CheckedTrade], value: Callable[[CheckedTrade], bytes]) -> None:
        """Send trades under their keys, and remember the places of those of crypto.trades."""
        for number, one in enumerate(trades):
            note = functools.partial(self._remember_place, one) if topic == "crypto.trades" else None
            self._producer.produce(topic, value(one), kafka_key(one.key).encode(), on_delivery=note)
            if number % 10_000 == 9_999:
                self._producer.flush(30)

    def _remember_place(self, one: CheckedTrade, _error: object, message: Any) -> None:
        self.places[one.event_id] = (message.partition(), message.offset())

    def flush(self) -> None:
        """Wait until Kafka has all records."""
        self._producer.flush(30)

    def dead_letter(self, key: str, reason: str) -> None:
        headers = {"reason": reason, "detail": "by hand", "source": "ARCHIVE", "position": f"offered.jsonl:{key}"}
        self._producer.produce("dlq.producer", b"raw", key.encode(), headers=list(headers.items()))

    def send(self, topic: str, value: bytes | None, key: bytes, **where: Any) -> None:
        """Send one record as it is."""
        self._producer.produce(topic, value, key, **where)
        self._producer.flush(30)

    @cached_property
    def _schemas(self) -> dict[str, tuple[int, Any]]:
        found = {}
        for topic in ("crypto.trades", "crypto.trades.enriched"):
            answer = httpx.get(f"{self.settings.schema_registry_url}/subjects/{topic}-value/versions/latest").json()
            found[topic] = (answer["id"], fastavro.parse_schema(json.loads(answer["schema"])))
        return found

    def _framed(self, topic: str, fields: Mapping[str, Any]) -> bytes:
        number, schema = self._schemas[topic]
        body = io.BytesIO()
        fastavro.schemaless_writer(body, schema, fields)
        return struct.pack(">bI", 0, number) + body.getvalue()

    def trade_value(self, one: CheckedTrade) -> bytes:
        moment = epoch(one.time_us)
        more = {"event_time": moment, "ingest_time": moment, "source": "ARCHIVE", "raw": frame(one)}
        return self._framed("crypto.trades", common(one) | more)

    def enriched_value(self, one: CheckedTrade) -> bytes:
        base, quote = one.key.symbol[:3], one.key.symbol[3:]
        more = {
            "base": base, "quote": quote, "pair": f"{base}-{quote}", "is_sentinel": one.is_sentinel,
            "quote_qty": Decimal(plain(one.price * one.qty, 16)), "minute": epoch(one.minute_us),
            "bucket": epoch(one.time_us - one.time_us % HOUR_US), "source": "SIMULATED",
        }  # fmt: skip
        return self._framed("crypto.trades.enriched", common(one) | more)

    def lake(self, trades: Rows) -> None:
        """Write one file per hour and partition, then the manifest, as the streaming job does."""
        slices: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for number, one in enumerate(trades):
            partition, offset = self.places.get(one.event_id, (0, 10**9 + number))
            hour = epoch(one.time_us).strftime("date=%Y-%m-%d/hour=%H")
            slices.setdefault((hour, partition), []).append(columns(one, offset, partition))
        files, ranges = [], dict[str, list[int]]()
        for (hour, partition), rows in slices.items():
            offsets = [row["kafka_offset"] for row in rows]
            first, until = ranges.get(str(partition), [min(offsets), 0])
            ranges[str(partition)] = [min(first, *offsets), max(until, max(offsets) + 1)]
            name = f"crypto.trades-{partition}-{min(offsets)}-{max(offsets) + 1}.parquet"
            body = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), body)
            self._put(f"bronze/trades/{hour}/{name}", body.getvalue())
            files.append({"path": f"bronze/trades/{hour}/{name}", "rows": len(rows), "bytes": body.tell()})
        manifest = {
            "v": 1, "topic": "crypto.trades", "batch_id": 0, "ranges": ranges, "rows": len(trades), "files": files,
        }  # fmt: skip
        self._put("bronze/_manifests/trades/000000000000-0.json", json.dumps(manifest).encode())

    def _put(self, path: str, body: bytes) -> None:
        self._gateway.put_object(Bucket=self.settings.lake_repository, Key=f"{self.ref}/{path}", Body=body)

    @cached_property
    def _gateway(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.settings.lakefs_endpoint,
            aws_access_key_id=self.settings.lakefs_access_key_id,
            aws_secret_access_key=self.settings.lakefs_secret_access_key.get_secret_value(),
            region_name="us-east-1",
        )

    def postgres(self, bars: Iterable[MinuteBar], applied: Rows) -> None:
        """Write candles and applied ids as the stream's role."""
        marks = ", ".join(["%s"] * 18)
        names = (
            "market, symbol, stream, open_time, open, high, low, close, volume, quote_volume, vwap, trades, "
            "agg_trades, taker_buy_volume, taker_buy_quote_volume, open_trade_id, close_trade_id, checksum"
        )
        ids: dict[Any, list[int]] = {}
        for one in applied:
            ids.setdefault(one.key, []).append(one.trade_id)
        with psycopg.connect(self.settings.database_dsn("stream")) as connection:
            cursor = connection.cursor()
            query = f"INSERT INTO market.candles_1m ({names}) VALUES ({marks})"  # noqa: S608  # constants above
            cursor.executemany(query, map(bar_row, bars))
            for key, numbers in ids.items():
                spans = "{" + ",".join(f"[{number},{number}]" for number in numbers) + "}"
                cursor.execute(
                    "INSERT INTO market.trade_ranges (market, symbol, stream, block, seen) "
                    "SELECT %s, %s, %s, block, block_ids FROM market.id_blocks(%s)",
                    (*key, spans),
                )


def bar_row(bar: MinuteBar) -> tuple[Any, ...]:
    values = (
        value if not places else Decimal(plain(value, places)) for value, places in zip(bar[2:], _PLACES, strict=True)
    )
    return (*bar.key, epoch(bar.open_time_us), *values)


def redis_hashes(trades: Iterable[CheckedTrade]) -> dict[str, dict[str, str]]:
    return {latest_prices.key_of(key): fields for key, fields in latest_prices.expected_hashes(trades).items()}


def common(one: CheckedTrade) -> dict[str, Any]:
    return {
        "event_id": one.event_id, "exchange": "BINANCE", "market": one.key.market, "stream": one.key.stream,
        "symbol": one.key.symbol, "trade_id": one.trade_id, "first_trade_id": one.first_id,
        "last_trade_id": one.last_id, "price": Decimal(plain(one.price)), "qty": Decimal(plain(one.qty)),
        "side": one.side, "trade_time": epoch(one.time_us),
    }  # fmt: skip


def frame(one: CheckedTrade) -> str:
    """Return a trade as Binance would have sent it."""
    document = {
        "e": "aggTrade", "E": one.time_us, "s": one.key.symbol, "a": one.trade_id, "p": plain(one.price),
        "q": plain(one.qty), "f": one.first_id, "l": one.last_id, "T": one.time_us, "m": one.side == "SELL",
    }  # fmt: skip
    return json.dumps(document, separators=(",", ":"))
