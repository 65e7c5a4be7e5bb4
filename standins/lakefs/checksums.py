"""The checksums that S3 clients send: crc32, crc32c, crc64nvme, sha1, sha256.

zlib offers only crc32. The other CRCs are computed here with numpy: the buffer is cut into lanes of
equal length, and each step advances the CRC of all lanes by one byte. The lanes are then joined,
which works because a CRC is linear: appending n zero bytes is a linear map.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# Reflected polynomials. crc32c: RFC 3720; crc64nvme: NVM Express NVM command set specification
# 1.0d, section 5.2.1.3.5.
POLYNOMIALS = {"crc32c": (0x82F63B78, 32), "crc64nvme": (0x9A6C9329AC4BC9B5, 64)}
LANE_BYTES = 256
# For less data, preparing the lanes costs more time than it saves.
SMALL_BYTES = 2048


@cache
def _table(polynomial: int) -> Words:
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        rows.append(value)
    return np.array(rows, dtype=np.uint64)


@cache
def _plain_table(polynomial: int) -> list[int]:
    return [int(value) for value in _table(polynomial)]


@cache
def _shift_tables(polynomial: int, zero_bytes: int) -> Words:
    """Return the effect of appended zero bytes: 8 tables of 256 words, one per byte of the CRC."""
    if zero_bytes > 1 and zero_bytes % 2 == 0:
        half = _shift_tables(polynomial, zero_bytes // 2)
        return np.array([_apply(half, row) for row in half])
    step = _table(polynomial)
    tables = np.zeros((8, 256), dtype=np.uint64)
    for position in range(8):
        values = np.arange(256, dtype=np.uint64) << np.uint64(8 * position)
        for _ in range(zero_bytes):
            values = step[(values & np.uint64(0xFF)).astype(np.intp)] ^ (values >> np.uint64(8))
        tables[position] = values
    return tables


def _apply(tables: Words, values: Words) -> Words:
    result = np.zeros_like(values)
    for position in range(8):
        index = ((values >> np.uint64(8 * position)) & np.uint64(0xFF)).astype(np.intp)
        result ^= tables[position][index]
    return result


def _plain(polynomial: int, register: int, data: bytes) -> int:
    table = _plain_table(polynomial)
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


def _lanes(polynomial: int, register: int, data: bytes) -> int:
    """Advance a CRC register over whole lanes; their number is a power of two."""
    columns = np.frombuffer(data, dtype=np.uint8).reshape(-1, LANE_BYTES).T.astype(np.uint64)
    table = _table(polynomial)
    values = np.zeros(columns.shape[1], dtype=np.uint64)
    values[0] = register
    for column in columns:
        values = table[((values ^ column) & np.uint64(0xFF)).astype(np.intp)] ^ (values >> np.uint64(8))
    length = LANE_BYTES
    while len(values) > 1:
        values = _apply(_shift_tables(polynomial, length), values[0::2]) ^ values[1::2]
        length *= 2
    return int(values[0])


class Crc:
    """A running CRC, one of `POLYNOMIALS`."""

    def __init__(self, name: str) -> None:
        self._polynomial, self._bits = POLYNOMIALS[name]
        self._mask = (1 << self._bits) - 1
        self._register = self._mask

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        at = 0
        while len(data) - at >= SMALL_BYTES:
            lanes = 1 << (((len(data) - at) // LANE_BYTES).bit_length() - 1)
            end = at + min(lanes, 4096) * LANE_BYTES
            self._register = _lanes(self._polynomial, self._register, data[at:end])
            at = end
        self._register = _plain(self._polynomial, self._register, data[at:])

    def digest(self) -> bytes:
        """Return the CRC, big-endian."""
        return (self._register ^ self._mask).to_bytes(self._bits // 8, "big")


class Crc32:
    """A running crc32 of zlib."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """Return the CRC, big-endian."""
        return self._value.to_bytes(4, "big")


FACTORIES: dict[str, Any] = {
    "crc32": Crc32,
    "crc32c": lambda: Crc("crc32c"),
    "crc64nvme": lambda: Crc("crc64nvme"),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}


def encoded(digest: bytes) -> str:
    """Return a digest in base64, as S3 headers use it."""
    return base64.b64encode(digest).decode()
