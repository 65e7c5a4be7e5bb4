"""Decode a batch of trades at once: Avro in Confluent framing to columns.

A batch becomes one Avro file in memory with one block, which polars-avro reads into Arrow memory.
Values are not copied: the block's schema begins with the five bytes of the frame.

A reader of blocks trusts that each record ends where the next one begins. With a record that is
longer or shorter than its schema says, all that follow would be garbage, and polars-avro 0.13 never
returns when bytes are left over. So `is_exact` first follows the lengths of all records, and only
those that end exactly at their end are read as a block. All others are read one by one by
`TradeReader`, which decides what is bad. So are small batches, for which a block does not pay.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final

import fastavro
import numpy as np
import numpy.typing as npt
import polars as pl
import polars_avro
import pyarrow as pa

from schemas.loading import load, strip_logical_types
from spark.streaming.partial_sums import END_OF_DECIMAL, FRAME_BYTES, TradeReader, fixed8

# A block costs 1.5 ms however small it is: as long as some 150 records one by one, and the sums of
# its columns 5 ms.
FEWEST_IN_BLOCK: Final = 600

_SYNC: Final = b"tickhouse-blocks"  # any 16 bytes
_FRAME: Final = {"name": "frame", "type": {"type": "fixed", "name": "Frame", "size": FRAME_BYTES}}
_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_FRAME_MASK: Final = np.uint64((1 << 8 * FRAME_BYTES) - 1)
_WORD: Final = 8

Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@cache
def trade_types() -> dict[str, pl.DataType]:
    """Return the columns of a decoded batch: the fields of schema Trade, in order."""
    kinds: dict[str, pl.DataType] = {"decimal": pl.Decimal(28, 8), "timestamp-micros": pl.Datetime("us", "UTC")}
    plain: dict[str, pl.DataType] = {"string": pl.String(), "long": pl.Int64()}
    return {
        field["name"]: kinds[kind["logicalType"]] if isinstance(kind := field["type"], dict) else plain[kind]
        for field in load("trade")["fields"]
    }


def decode_trades(reader: TradeReader, values: pa.Array, columns: Sequence[str]) -> pl.DataFrame:
    """Decode the values of Kafka records.

    Args:
        reader: Reads single records.
        values: Array of type binary.
        columns: Fields of schema Trade to return.

    Returns:
        One row per record that decodes, in order: the columns, and `at`, its position in `values`.
    """
    exact = is_exact(values, _schema_ids(reader)) if len(values) >= FEWEST_IN_BLOCK else None
    if exact is None or not exact.any():
        return _one_by_one(reader, values, np.arange(len(values)), columns)
    is_whole = bool(exact.all())
    block = values if is_whole else values.filter(pa.array(exact))
    try:
        frame = read_block(block, columns)
    except polars_avro.AvroError:  # such as text that is not UTF-8; it does not say in which record
        return _one_by_one(reader, values, np.arange(len(values)), columns)
    found = _within_precision(frame.with_columns(pl.Series("at", np.flatnonzero(exact), pl.Int64)))
    if is_whole:
        return found
    rest = np.flatnonzero(~exact)
    others = _one_by_one(reader, values.take(pa.array(rest)), rest, columns)
    return pl.concat([found, others]).sort("at")


def _schema_ids(reader: TradeReader) -> list[int]:
    """Return the ids under which our own version of the schema is registered."""
    own = _fields(strip_logical_types(load("trade")))
    return [number for number, document in reader.schemas.items() if _fields(document) == own]


def _fields(document: Any) -> list[tuple[str, Any]]:
    return [(field["name"], field["type"]) for field in document["fields"]]


def _within_precision(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop the rows with a number of more than 28 digits."""
    decimals = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Decimal)]
    units = [pl.col(name).to_physical() for name in decimals]
    is_within = [unit.is_between(-END_OF_DECIMAL, END_OF_DECIMAL, closed="none") for unit in units]
    return frame.filter(*is_within)


def is_exact(values: pa.Array, schema_ids: Iterable[int]) -> Mask:
    """Return which values have a known schema and end where their last field ends.

    It follows the lengths of all records at once, field by field. A number or a length that is
    encoded in an unusual way counts as not exact.
    """
    offsets = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, 4 * values.offset).astype(np.int64)
    # Eight bytes more, so that a word can be read at the last byte.
    data = np.zeros(int(offsets[-1] - offsets[0]) + _WORD, np.uint8)
    if data.size > _WORD:
        data[:-_WORD] = np.frombuffer(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    words: Words = np.ndarray((data.size - _WORD + 1,), np.uint64, data.data, 0, (1,))
    at, ends = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    frames = [number.to_bytes(FRAME_BYTES, "big") for number in schema_ids]
    known = np.array([int.from_bytes(frame, "little") for frame in frames], np.uint64)
    is_good: Mask = (ends - at > FRAME_BYTES) & np.isin(words[at] & _FRAME_MASK, known)
    at = at + FRAME_BYTES
    for kind in trade_types().values():
        at, is_good = _after_field(words, at, ends, is_good, kind)
    is_exact: Mask = is_good & (at == ends)
    return is_exact


def _after_field(
    words: Words, at: Positions, ends: Positions, is_good: Mask, kind: pl.DataType
) -> tuple[Positions, Mask]:
    """Return where a field of each record ends, and which records are good so far."""
    word = words[np.minimum(at, len(words) - 1)]
    # The lowest byte without its high bit is the last one of the number. Of nine bytes and more the
    # word has none: then `last` is 0 and the size 9, which is refused.
    last = ~word & _HIGH_BITS
    size = (np.bitwise_count((last & (~last + np.uint64(1))) - np.uint64(1)) >> 3).astype(np.int64) + 1
    is_good = is_good & (size <= _WORD)
    at = at + size
    if isinstance(kind, pl.String | pl.Decimal):
        length = _short_length(word, size)
        # An empty decimal is no number, and one of more than 16 bytes fits no column.
        is_good = is_good & ((length >= 0) if isinstance(kind, pl.String) else (length >= 1) & (length <= 16))
        at = at + length
    is_good = is_good & (at <= ends)
    return np.where(is_good, at, 0), is_good


def _short_length(word: Words, size: Positions) -> Positions:
    """Return a length of up to three bytes (zigzag); -1 for a negative or longer one."""
    one, two, three = (word & np.uint64(mask << at) for mask, at in ((0x7F, 0), (0x7F, 8), (0x7F, 16)))
    number = one | np.where(size > 1, two >> np.uint64(1), 0) | np.where(size > 2, three >> np.uint64(2), 0)
    is_length = (size <= 3) & (number & np.uint64(1) == 0)
    return np.where(is_length, (number >> np.uint64(1)).astype(np.int64), -1)


def read_block(values: pa.Array, columns: Sequence[str]) -> pl.DataFrame:
    """Decode values that are all exact.

    Raises:
        polars_avro.AvroError: A value does not decode.
    """
    offsets = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, 4 * values.offset)
    body = memoryview(values.buffers()[2])[offsets[0] : offsets[-1]]
    file = b"".join((_file_header(), _zigzag(len(values)), _zigzag(len(body)), body, _SYNC))
    # Text is checked only where it is read, and a record with bad text in any field is bad.
    texts = (name for name, kind in trade_types().items() if isinstance(kind, pl.String) and name not in columns)
    return polars_avro.read_avro([io.BytesIO(file)], columns=[*columns, *texts]).select(columns)


@cache
def _file_header() -> bytes:
    schema = load("trade")
    buffer = io.BytesIO()
    fastavro.writer(buffer, {**schema, "fields": [_FRAME, *schema["fields"]]}, [], sync_marker=_SYNC)
    return buffer.getvalue()


def _zigzag(number: int) -> bytes:
    """Encode a number that is not negative as an Avro long."""
    number, encoded = number << 1, bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def _one_by_one(
    reader: TradeReader, values: pa.Array, positions: npt.NDArray[np.int64], columns: Sequence[str]
) -> pl.DataFrame:
    types = trade_types()
    found = [
        (int(at), record)
        for at, record in zip(positions, reader.records(values.to_pylist()), strict=True)
        if record is not None
    ]
    series = [_series(name, types[name], [record for _, record in found]) for name in columns]
    return pl.DataFrame([*series, pl.Series("at", [at for at, _ in found], pl.Int64)])


def _series(name: str, kind: pl.DataType, records: Sequence[Mapping[str, Any]]) -> pl.Series:
    cells = [record[name] for record in records]
    if isinstance(kind, pl.Decimal):
        return pl.Series(name, [Decimal(fixed8(int.from_bytes(cell, signed=True))) for cell in cells], kind)
    if isinstance(kind, pl.Datetime):
        return pl.Series(name, cells, pl.Int64).cast(kind)
    return pl.Series(name, cells, kind)
