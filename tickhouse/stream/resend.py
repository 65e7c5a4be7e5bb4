"""Send trades to `crypto.trades` again that a query lost and bronze still has.

A record has the same key, event id and values as before, so a store that has it does not change.
Bronze gets a second copy at another offset, because it keeps everything that was received; silver
contains each event once.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any, Final

import fastavro
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem

from common.errors import StoreUnavailable
from common.topics import TRADES
from producer.events import record_key
from producer.writer.outbox import Outbox
from schemas.loading import load
from spark.checkpoints.lost_offsets import LostOffsets

_SLICE: Final = re.compile(r"-(\d+)-(\d+)-(\d+)\.parquet\Z", re.ASCII)
_TRADE: Final = fastavro.parse_schema(load("trade"))
FLUSH_EVERY: Final = 20_000

Manifest = Mapping[str, Any]


def files_that_may_hold(manifests: Iterable[Manifest], lost: LostOffsets) -> list[str]:
    """Return the bronze files that may contain rows of a lost range, sorted (pure)."""
    topic_ids = ("", lost.topic_id)
    of_topic = [entry for entry in manifests if not lost.topic_id or str(entry.get("topic_id", "")) in topic_ids]
    paths = {str(file["path"]) for manifest in of_topic for file in manifest["files"]}
    return sorted(path for path in paths if _may_hold(path, lost))


def _may_hold(path: str, lost: LostOffsets) -> bool:
    name = _SLICE.search(path)
    if name is None:
        return True
    part, first, until = map(int, name.groups())
    return part == lost.partition and until > lost.first and (lost.until is None or first < lost.until)


def rows_of(files: FileSystem, root: str, paths: Iterable[str], lost: LostOffsets) -> Iterator[dict[str, Any]]:
    """Yield the bronze rows whose Kafka offsets are in a lost range.

    Raises:
        StoreUnavailable: The lake does not answer, or a file that a manifest names cannot be read.
    """
    for path in paths:
        try:
            with files.open_input_file(f"{root}/{path}") as source:
                table = pq.ParquetFile(source).read()
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreUnavailable(
                f"{path} of the lake cannot be read: {error}.", safe="Nothing is lost: repeat the command.",
                next_command="tickhouse status",
            ) from error  # fmt: skip
        yield from table.filter(_wanted(table, lost)).drop_columns(["kafka_partition", "kafka_offset"]).to_pylist()


def _wanted(table: pa.Table, lost: LostOffsets) -> pa.Array:
    offsets = table["kafka_offset"]
    mask = pc.and_(pc.equal(table["kafka_partition"], lost.partition), pc.greater_equal(offsets, lost.first))
    return mask if lost.until is None else pc.and_(mask, pc.less(offsets, lost.until))


def encode(row: Mapping[str, Any], schema_id: int) -> bytes:
    """Return a bronze row as its value in `crypto.trades`: Avro with Confluent framing."""
    buffer = BytesIO()
    buffer.write(struct.pack(">bI", 0, schema_id))
    fastavro.schemaless_writer(buffer, _TRADE, dict(row))
    return buffer.getvalue()


def resend(rows: Iterable[Mapping[str, Any]], outbox: Outbox, schema_id: int) -> int:
    """Send bronze rows and return how many; all are acknowledged when this returns.

    Raises:
        StoreUnavailable: Kafka does not take them; it is safe to send all of them again.
    """
    count = 0
    for row in rows:
        outbox.send(TRADES, encode(row, schema_id), record_key(row["market"], row["symbol"]))
        count += 1
        if count % FLUSH_EVERY == 0:
            outbox.flush()
    outbox.flush()
    return count
