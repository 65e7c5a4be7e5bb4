"""Read a checkpoint folder of Spark without Spark, and find damaged files.

Spark writes each file of a checkpoint under a temporary name and renames it, without fsync. After a
power cut a file may therefore be empty, torn or missing although later files are whole
(docs/adr/0023-checkpoints-heal-at-start.md). Spark would refuse such a folder forever. Tickhouse
can continue: each store knows which records it holds, so a query may go back to any earlier offset.
But it must not skip offsets that were never read.

A checkpoint has two files per batch: one in `offsets`, which holds where the batch ends and is
written before the work, and one in `commits`, written after the work. `sources/0/0` holds the
offsets of the first batch, and `metadata` the id of the query. `tickhouse.json` is our own file
(`spark.checkpoints.start_offsets.CheckpointNote`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

Offsets = Mapping[int, int]  # next offset by partition
OffsetRanges = list[tuple[int, int]]  # sorted, disjoint, [first, next)

_BATCH = re.compile(r"\d+")


class Damage(NamedTuple):
    """A damaged or missing file of a checkpoint."""

    file: str
    kind: Literal["empty", "torn", "missing"]

    def __str__(self) -> str:
        return f"{self.file} is {self.kind}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a checkpoint folder.

    Attributes:
        has_batches: Whether a batch was ever planned.
        position: The next offsets after the newest batch that is known to be done; None when no
            file shows them.
        oldest: The next offsets after the oldest batch that is kept.
        planned: The next offsets after the newest batch, done or not.
        damages: Files that Spark would refuse, or needs and does not find.
        leftovers: Temporary files and checksums that Spark never reads again.
    """

    has_batches: bool = False
    position: Offsets | None = None
    oldest: Offsets | None = None
    planned: Offsets | None = None
    damages: tuple[Damage, ...] = ()
    leftovers: tuple[Path, ...] = ()


def inspect(folder: Path, topic: str) -> Checkpoint:
    """Read a checkpoint folder.

    Args:
        folder: The folder of the query; it need not exist.
        topic: The only topic that the query reads.
    """
    offsets = {batch: _offsets(path, topic) for batch, path in _batches(folder / "offsets").items()}
    commits = {batch: _is_versioned_json(path) for batch, path in _batches(folder / "commits").items()}
    initial = _initial(folder / "sources" / "0" / "0", topic)
    whole = {batch: following for batch, following in offsets.items() if following is not None}
    done = [batch for batch in whole if commits.get(batch) or any(later > batch for later in whole)]
    has_batches = bool(offsets or commits)
    begin = initial if 0 in offsets or not has_batches else None
    return Checkpoint(
        has_batches=has_batches,
        position=whole[max(done)] if done else begin,
        oldest=whole[min(done)] if done else begin,
        planned=whole[max(whole)] if whole else None,
        damages=tuple(_damages(folder, offsets, commits, initial)),
        leftovers=tuple(path for path in sorted(folder.rglob(".*")) if path.suffix in (".tmp", ".crc")),
    )


def records_of(folder: Path, topic: str, batch: int) -> int:
    """Return how many offsets a batch spans that was planned; 0 when the files do not show it."""
    end = _offsets(folder / "offsets" / str(batch), topic)
    previous = folder / "offsets" / str(batch - 1) if batch else folder / "sources" / "0" / "0"
    start = _offsets(previous, topic) if batch else _initial(previous, topic)
    if end is None or start is None:
        return 0
    return sum(max(until - start.get(part, until), 0) for part, until in end.items())


def _damages(
    folder: Path, offsets: Mapping[int, Offsets | None], commits: Mapping[int, bool], initial: Offsets | None
) -> Iterable[Damage]:
    """Yield the damages that would stop Spark.

    Spark reads the files of the newest two batches and deletes older ones.
    """
    batches = offsets.keys() | commits.keys()
    metadata = folder / "metadata"
    if not _has_query_id(metadata) and (batches or metadata.exists()):
        yield _damage(folder, metadata)
    first = folder / "sources" / "0" / "0"
    if initial is None and (batches or first.exists()):
        yield _damage(folder, first)
    if not batches:
        return
    newest = max(batches)
    for batch in (newest - 1, newest):
        path = folder / "offsets" / str(batch)
        if batch >= 0 and offsets.get(batch) is None:
            yield _damage(folder, path)
    for batch in (newest - 1, newest):
        is_needed = batch in commits or (batch >= 0 and batch < newest)
        if is_needed and not commits.get(batch):
            yield _damage(folder, folder / "commits" / str(batch))


def _damage(folder: Path, path: Path) -> Damage:
    name = str(path.relative_to(folder))
    if not path.is_file():
        return Damage(name, "missing")
    return Damage(name, "torn" if path.stat().st_size else "empty")


def _batches(folder: Path) -> dict[int, Path]:
    return {int(path.name): path for path in folder.glob("*") if _BATCH.fullmatch(path.name)}


def _lines(path: Path) -> list[str]:
    """Return the lines after the version line of a file; empty when the file is not Spark's."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return lines[1:] if lines and lines[0] == "v1" else []


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _offsets(path: Path, topic: str) -> Offsets | None:
    """Return the offsets of a batch.

    The file has a version line, a line of metadata, and one line per source; we have one source.
    """
    lines = _lines(path)
    if len(lines) != 2 or not isinstance(_json(lines[0]), dict):
        return None
    return _of_topic(_json(lines[1]), topic)


def _initial(path: Path, topic: str) -> Offsets | None:
    """Return the offsets of the first batch.

    The file has a zero byte (for readers of Spark 2.1.0), a version line, and one line of offsets.
    """
    try:
        text = path.read_bytes().removeprefix(b"\x00").decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    version, _, rest = text.partition("\n")
    return _of_topic(_json(rest), topic) if version == "v1" else None


def _of_topic(document: Any, topic: str) -> Offsets | None:
    try:
        return {int(part): int(offset) for part, offset in document[topic].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _is_versioned_json(path: Path) -> bool:
    lines = _lines(path)
    return len(lines) == 1 and isinstance(_json(lines[0]), dict)


def _has_query_id(path: Path) -> bool:
    try:
        document = _json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False
    return isinstance(document, dict) and bool(document.get("id"))
