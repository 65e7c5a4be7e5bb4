"""What the exchange offered: every replayed file read again, and the synthetic exchange's market computed again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tickhouse.errors import ConfigurationError, PrerequisiteMissing
from tickhouse.reconcile.files import items
from tickhouse.reconcile.frames import Item, Source
from tickhouse.reconcile.model import Rejection, StreamKey, TickId, Trade


@dataclass
class Truth:
    """Everything offered, in canonical form.

    `repeats` counts how many times more than once an identical trade was offered; `spans` are the first and last id of
    each stream of each source; `live` holds, for each stream of a synthetic exchange, the highest id it had played when
    the truth was taken, and while it `is_running` later ids are not judged. `possible` are rejections that may or may
    not have been received: a client that was cut off cannot be blamed for what was on the wire.
    """

    trades: dict[StreamKey, dict[int, Trade]] = field(default_factory=lambda: defaultdict(dict))
    ticks: dict[StreamKey, set[int]] = field(default_factory=lambda: defaultdict(set))
    repeats: Counter[tuple[StreamKey, int]] = field(default_factory=Counter)
    tick_repeats: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    spans: list[tuple[StreamKey, int, int]] = field(default_factory=list)
    live: dict[StreamKey, int] = field(default_factory=dict)
    is_running: bool = False
    possible: list[Rejection] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def add(self, item: Item, position: str = "") -> None:
        """Take one item in: an id again with the same content is a repeat, with other content a conflict."""
        if isinstance(item, Trade):
            self._add_trade(item, position)
        elif isinstance(item, TickId):
            known = self.ticks[item.key]
            self.tick_repeats += item.tick_id in known
            known.add(item.tick_id)
        else:
            self.rejections.append(item)

    def _add_trade(self, trade: Trade, position: str) -> None:
        known = self.trades[trade.key]
        first = known.get(trade.trade_id)
        if first is None:
            known[trade.trade_id] = trade
        elif same_payload(first, trade):
            self.repeats[trade.key, trade.trade_id] += 1
        else:
            detail = f"Expected {first[1:]}, was {trade[1:]}."
            self.rejections.append(Rejection(trade.event_id, "conflict", detail, position))

    def add_all(self, offered: Iterable[Item], name: str) -> None:
        """Take in everything of one source."""
        bounds: dict[StreamKey, tuple[int, int]] = {}
        for item in offered:
            self.add(item, name)
            if isinstance(item, Trade):
                low, high = bounds.get(item.key, (item.trade_id, item.trade_id))
                bounds[item.key] = (min(low, item.trade_id), max(high, item.trade_id))
        self.spans += [(key, low, high) for key, (low, high) in bounds.items()]
        self.sources.append(name)

    @property
    def count(self) -> int:
        """Return the number of distinct valid trades."""
        return sum(map(len, self.trades.values()))


def same_payload(first: Trade, other: Trade) -> bool:
    """Return whether two deliveries of an id say the same; REST and streams may give its time in ms or in µs."""
    return first._replace(time_us=0) == other._replace(time_us=0) and first.time_us // 1000 == other.time_us // 1000


def load_files(home: Path, truth: Truth) -> None:
    """Read every file that `<home>/truth/files.jsonl` names.

    Raises:
        PrerequisiteMissing: A replayed file is not there any more.
        ConfigurationError: It is not the file that was replayed, or the record of it does not parse.
    """
    for entry in replayed(home / "truth" / "files.jsonl"):
        path = Path(entry["path"])
        _require_same(path, entry["sha256"])
        truth.add_all(items(path, Source(entry["market"], entry.get("symbol") or "")), path.name)


def replayed(record: Path) -> list[dict[str, Any]]:
    """Return the entries of `files.jsonl`, each (sha256, market) once; none when there is no such file.

    Raises:
        ConfigurationError: A line is not an object with path, sha256 and market.
    """
    if not record.exists():
        return []
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for number, line in enumerate(record.read_text().splitlines(), start=1):
        try:
            entry = json.loads(line)
            entries.setdefault((entry["sha256"], entry["market"]), {"path": entry["path"]} | entry)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{record}:{number} is no record of a replayed file: {error!r}.") from error
    return list(entries.values())


def _require_same(path: Path, sha256: str) -> None:
    if not path.exists():
        raise PrerequisiteMissing(
            f"The replayed file {path} is gone, so what it offered cannot be told.", safe="The stores are untouched."
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ConfigurationError(
            f"{path} is not the file that was replayed: expected sha256 {sha256}, was {found}.",
            next_command="put the replayed file back, or replay the new one",
        )
