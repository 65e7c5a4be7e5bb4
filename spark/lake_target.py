"""The bronze table that a lake query writes: its address, its file names, and its S3 client.

The sink (`spark/streaming/lake_sink.py`) writes there; the recovery of a checkpoint
(`spark/checkpoints/bronze_offsets.py`) reads which offsets are there already.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.clients.lake_manifest_paths import Placement, placement
from common.clients.s3 import s3_client
from common.errors import StoreUnavailable
from common.settings import Settings
from common.topics import TICKS, TRADES

_SECONDS_PER_HOUR = 3_600


@dataclass(frozen=True, slots=True)
class LakeTarget:
    """One bronze table. It is pickled into Spark's tasks, so it holds plain values only.

    Attributes:
        table: `trades` or `ticks`.
        time_columns: The event time of a row is the first of these columns that is not null.
        topic_id: Kafka's id of the topic.
        generation: Part of the file names when the topic was deleted and created again, because the
            new topic uses the same offsets again. Empty for the first topic.
    """

    endpoint: str
    access_key_id: str
    secret_access_key: str
    repository: str
    branch: str
    table: str
    topic: str
    time_columns: tuple[str, ...]
    topic_id: str = ""
    generation: str = ""

    def client(self) -> Any:
        """Return the boto3 client of the gateway; one per process."""
        return s3_client(self.endpoint, self.access_key_id, self.secret_access_key)

    def put(self, client: Any, path: str, body: bytes) -> None:
        """Write one object of the branch."""
        client.put_object(Bucket=self.repository, Key=f"{self.branch}/{path}", Body=body)

    def data_path(self, hour: int, partition: int, first: int, until: int) -> str:
        """Return the path of a data file.

        Args:
            hour: Event hour, in hours since 1970.
            partition: Kafka partition.
            first: First offset of the batch in this partition.
            until: Offset after the last one.
        """
        moment = datetime.fromtimestamp(hour * _SECONDS_PER_HOUR, UTC)
        folder = f"bronze/{self.table}/date={moment:%Y-%m-%d}/hour={moment:%H}"
        log = f"{self.topic}.{self.generation}" if self.generation else self.topic
        return f"{folder}/{log}-{partition}-{first}-{until}.parquet"

    def placement(self, batch_id: int, document: Mapping[str, Any]) -> Placement:
        """Return the paths of a batch's manifest and of its pointers."""
        name = manifest_name(batch_id, document["ranges"], self.generation)
        return placement(self.table, name, [file["path"] for file in document["files"]])


def lake_target(settings: Settings, table: str) -> LakeTarget:
    """Return the bronze table `trades` or `ticks` on the lake's branch `ingest`."""
    is_trade = table == "trades"
    return LakeTarget(
        endpoint=settings.lakefs_endpoint,
        access_key_id=settings.lakefs_access_key_id,
        secret_access_key=settings.lakefs_secret_access_key.get_secret_value(),
        repository=settings.lake_repository,
        branch="ingest",
        table=table,
        topic=TRADES if is_trade else TICKS,
        time_columns=("trade_time",) if is_trade else ("event_time", "ingest_time"),
    )


def manifest_name(batch_id: int, ranges: Mapping[str, list[int]], generation: str = "") -> str:
    """Return the file name of a batch's manifest; it is a function of batch id and offsets."""
    text = json.dumps(ranges, sort_keys=True) + generation
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{batch_id:012d}-{digest}.json"


def gateway_unavailable(target: LakeTarget, cause: str) -> StoreUnavailable:
    """Return the error for a gateway that does not answer or does not accept an object."""
    return StoreUnavailable(
        f"The lake's S3 gateway at {target.endpoint} did not accept the batch: {cause}.",
        safe="The batch waits; its offsets are not committed.",
        next_command="tickhouse status",
    )
