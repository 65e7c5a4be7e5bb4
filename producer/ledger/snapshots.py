"""How a ledger is stored in `crypto.ledger`: one head per stream and writer, and parts.

A set of ids with few holes is a few ranges, and the head holds them. Where ids skip, one range per
id would exceed the broker's message size. The set is then cut into blocks of 65,536 ids. A block
that is not whole is a record of its own (a part): ranges, or a bitmap of at most 8 KiB. Only parts
that changed are written again. The head holds the whole blocks, which are few ranges again. So the
size of both records is bounded (docs/adr/0017).

A writer sends the parts first, then the head, whose offsets cover them, then tombstones for parts
whose ids are now in the head. Each part is valid on its own, so a reader takes the union of all, no
matter when the writer was killed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

from common.clients.gap_ledger import ids_of
from common.intervals import IntervalSet, Ranges

BLOCK_BITS: Final = 16
BLOCK_IDS: Final = 1 << BLOCK_BITS
# 1,000 ranges of about 26 bytes are 26 KiB of JSON; up to there a head alone is smaller than parts.
HEAD_RANGES: Final = 1_000
# More ranges than this are longer as text than as a bitmap.
PART_RANGES: Final = 256


def blocks_of(low: int, high: int) -> range:
    """Return the blocks that the ids [low, high] touch."""
    return range(low >> BLOCK_BITS, (high >> BLOCK_BITS) + 1)


def bounds_of(block: int) -> tuple[int, int]:
    """Return the first and the last id of a block."""
    return block << BLOCK_BITS, ((block + 1) << BLOCK_BITS) - 1


def encoded(name: str, block: int, ranges: Ranges) -> dict[str, Any]:
    """Return the ids of one block as fields of a part: ranges, or a shorter bitmap.

    Bit i of the bitmap (byte i // 8, least significant bit first; base64) is the i-th id of the
    block.
    """
    if len(ranges) <= PART_RANGES:
        return {name: [list(pair) for pair in ranges]}
    return {name: [], f"{name}_bits": base64.b64encode(_bitmap(ranges, bounds_of(block)[0])).decode()}


def _bitmap(ranges: Ranges, first: int) -> bytes:
    digits, at = [], first
    for low, high in ranges:
        digits.append("0" * (low - at) + "1" * (high + 1 - low))
        at = high + 1
    return int("".join(digits)[::-1], 2).to_bytes(BLOCK_IDS // 8, "little")


class Snapshot:
    """The head and the parts that one writer stored for one stream.

    Args:
        head: Value of the head.
        parts: Values of the parts.
    """

    def __init__(self, head: Mapping[str, Any], parts: Iterable[Mapping[str, Any]] = ()) -> None:
        self.head, self.parts = head, list(parts)

    def seen(self, *, is_tick: bool = False) -> IntervalSet:
        """Return the ids (ticks: buckets) that are in Kafka or in the dead letters."""
        return self._ids("buckets" if is_tick else "seen")

    def rejected(self) -> IntervalSet | None:
        """Return the seen ids that are only dead letters; None in snapshots of old versions."""
        return self._ids("rejected") if "rejected" in self.head else None

    def blocks(self) -> set[int]:
        """Return the blocks that have a part."""
        return {int(part["part"]) for part in self.parts}

    def _ids(self, name: str) -> IntervalSet:
        return IntervalSet(pair for value in (self.head, *self.parts) for pair in ids_of(value, name))


def snapshots(values: Mapping[str, Mapping[str, Any]]) -> list[Snapshot]:
    """Return the snapshots among the latest values of `crypto.ledger`: each head with its parts."""
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for key, value in values.items():
        if "part" in value:
            parts.setdefault(key.rpartition("/")[0], []).append(value)
    return [Snapshot(value, parts.get(key, ())) for key, value in values.items() if "part" not in value]


def part_key(name: str, block: int) -> str:
    """Return the key of a part: that of its head, and the block."""
    return f"{name}/{block}"


def undelivered_of(writers: Iterable[tuple[IntervalSet, IntervalSet]]) -> IntervalSet:
    """Return the ids that some writer rejected and none delivered.

    Args:
        writers: For each writer, its seen ids and those of them that it rejected.
    """
    known = list(writers)
    undelivered = IntervalSet(pair for _, rejected in known for pair in rejected)
    for seen, rejected in known if len(undelivered) else ():
        seen_here = [pair for low, high in undelivered for pair in seen.within(low, high)]
        undelivered.remove([pair for low, high in seen_here for pair in rejected.missing(low, high)])
    return undelivered
