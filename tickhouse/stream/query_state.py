"""The state of each streaming query, read from the driver's files in `<home>/stream`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spark.checkpoints import lost_offsets
from spark.checkpoints.lost_offsets import LostOffsets
from spark.checkpoints.recovery import QUERY_SPECS, QuerySpec, checkpoint_folder

# The driver writes its report every second, also during a batch.
FRESH_S = 15.0


@dataclass(frozen=True, slots=True)
class QueryState:
    """The state of one query.

    Attributes:
        state: `active`, `failing` (the driver retries it), or `stopped` (no driver reports).
        reason: Why its checkpoint starts where it does (`start_offsets.Reason`); empty when
            unknown.
        detail: More about the reason.
        error: Why it does not run, in one line.
        lost: Offset ranges that it lost and that are not yet repaired, as text.
    """

    name: str
    topic: str
    state: str
    reason: str
    detail: str
    error: str
    failures: int
    lost: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Return whether the query needs no action."""
        return self.state != "failing" and not self.lost

    @property
    def in_words(self) -> str:
        """Return the state, an unusual start of the checkpoint, and what is wrong."""
        parts = [self.state]
        if self.reason not in ("", "sound", "new"):
            parts.append(f"checkpoint recreated: {self.reason}")
        if self.error:
            parts.append(f"failed {self.failures} times: {self.error}")
        return "; ".join([*parts, *(["lost offsets: tickhouse stream repair"] if self.lost else [])])

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {**asdict(self), "lost": list(self.lost), "is_well": self.is_well}


def query_states(folder: Path) -> list[QueryState]:
    """Return the state of every query; one whose optional store was never there is left out.

    Args:
        folder: `<home>/stream`.
    """
    report = progress(folder)
    is_fresh = bool(report) and time.time() - report["at_us"] / 1e6 < FRESH_S
    lost = lost_offsets.unresolved(folder)
    reported = report.get("queries", {})
    return [
        _state(stream, reported.get(stream.name, {}), lost, is_fresh=is_fresh)
        for stream in QUERY_SPECS
        if not stream.store or stream.name in reported or checkpoint_folder(folder, stream.name).exists()
    ]


def _state(stream: QuerySpec, reported: dict[str, Any], lost: list[LostOffsets], *, is_fresh: bool) -> QueryState:
    started = reported.get("started") or {}
    state = "active" if reported.get("is_active") else "failing"
    lost_here = tuple(str(offsets) for offsets in lost if offsets.query == stream.name)
    return QueryState(
        stream.name, stream.topic, state if is_fresh else "stopped",
        str(started.get("reason", "")), str(started.get("detail", "")),
        str(reported.get("error", "")), int(reported.get("failures", 0)), lost_here,
    )  # fmt: skip


def progress(folder: Path) -> dict[str, Any]:
    """Return the driver's last report; empty when there is no complete one."""
    try:
        document = json.loads((folder / "progress.json").read_text())
        return document if isinstance(document["at_us"], int) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
