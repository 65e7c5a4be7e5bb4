"""The log of lost offsets: the offsets that Kafka dropped before a query had read them.

`<home>/stream/lost.jsonl` is append-only. Each loss is one line, which is on the disk before the
query continues. `tickhouse stream repair` appends a second line with the outcome. `tickhouse
status`, `doctor` and `reconcile` read the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spark.checkpoints.start_offsets import LostRange

FILE = "lost.jsonl"


@dataclass(frozen=True, slots=True)
class LostOffsets:
    """A range of offsets that a query lost; `until` is None when the end is unknown."""

    query: str
    topic: str
    topic_id: str
    partition: int
    first: int
    until: int | None
    reason: str
    at_us: int

    @property
    def name(self) -> str:
        """Return the key of this loss in the file: a loss that is found twice is recorded once."""
        end = "" if self.until is None else self.until
        return f"{self.query}/{self.topic}/{self.topic_id}/{self.partition}/{self.first}-{end}"

    @property
    def count(self) -> int | None:
        """Return the number of lost offsets; None when it is unknown."""
        return None if self.until is None else self.until - self.first

    def __str__(self) -> str:
        end = "the end of the old log" if self.until is None else str(self.until)
        return f"{self.query} lost {self.topic}-{self.partition} from {self.first} to {end} ({self.reason})"


def of_plan(query: str, topic: str, reason: str, lost: Iterable[LostRange], at_us: int) -> list[LostOffsets]:
    """Return the records of the ranges that a start plan found lost."""
    return [LostOffsets(query, topic, *span, reason=reason, at_us=at_us) for span in lost]


def record(folder: Path, lost: Iterable[LostOffsets]) -> list[LostOffsets]:
    """Append the losses that are not recorded yet; return them once they are on the disk.

    Args:
        folder: `<home>/stream`.
        lost: The losses.
    """
    known = {line["lost"] for line in _lines(folder) if "lost" in line}
    new = [loss for loss in lost if loss.name not in known]
    _append(folder, [{"v": 1, "lost": loss.name, **_fields(loss)} for loss in new])
    return new


def resolve(folder: Path, lost: Iterable[LostOffsets], outcome: dict[str, Any], at_us: int) -> None:
    """Append the outcome of recorded losses, which closes them."""
    _append(folder, [{"v": 1, "resolved": loss.name, "at_us": at_us, **outcome} for loss in lost])


def unresolved(folder: Path) -> list[LostOffsets]:
    """Return the losses that are not repaired yet, oldest first."""
    losses: dict[str, LostOffsets] = {}
    for line in _lines(folder):
        if "lost" in line:
            names = LostOffsets.__dataclass_fields__
            losses[line["lost"]] = LostOffsets(**{name: line[name] for name in names})
        else:
            losses.pop(line.get("resolved", ""), None)
    return list(losses.values())


def _fields(loss: LostOffsets) -> dict[str, Any]:
    return {name: getattr(loss, name) for name in LostOffsets.__dataclass_fields__}


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        text = (folder / FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            document = json.loads(line)
        except ValueError:  # torn by a power cut: the query had not continued yet, so the loss is found again
            continue
        if isinstance(document, dict):
            yield document


def _append(folder: Path, lines: list[dict[str, Any]]) -> None:
    if not lines:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    # The line break comes first, so that a torn last line does not damage the new one.
    text = "".join(f"\n{json.dumps(line)}" for line in lines) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
