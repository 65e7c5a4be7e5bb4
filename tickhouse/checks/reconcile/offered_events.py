"""Collect what the exchange offered.

Every replayed file is read again, and the synthetic market is computed again.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError, PrerequisiteMissing
from tickhouse.checks.reconcile.json_records import Item, Source
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, Rejection, TickId
from tickhouse.checks.reconcile.replayed_files import items

_TRADE_ID = re.compile(r"binance:[^:]+:[^:]+:(?:aggTrade|trade):[0-9]+")


@dataclass
class OfferedEvents:
    """Everything offered, in canonical form.

    Attributes:
        trades: Valid trades by stream and id.
        ticks: Ids of ticks by stream.
        repeats: How many times an identical trade was offered again.
        rejections: Records that must be dead letters.
        spans: First and last id of each stream of each source.
        live: For each stream of a synthetic exchange the highest id that it had sent when its
            record was read. While the exchange `is_running`, later ids are not compared.
        possible: Rejections that may or may not have been received: the connection was cut while
            they were sent.
        sources: Names of the sources.
        files_end: How many of `spans`, from the first, belong to replayed files.
        left_out: Replayed files that were not read. Of what only they offered, Kafka's own copy
            counts.
    """

    trades: dict[CheckedStream, dict[int, CheckedTrade]] = field(default_factory=lambda: defaultdict(dict))
    ticks: dict[CheckedStream, set[int]] = field(default_factory=lambda: defaultdict(set))
    repeats: Counter[tuple[CheckedStream, int]] = field(default_factory=Counter)
    tick_repeats: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    spans: list[tuple[CheckedStream, int, int]] = field(default_factory=list)
    live: dict[CheckedStream, int] = field(default_factory=dict)
    is_running: bool = False
    possible: list[Rejection] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    files_end: int = 0
    left_out: list[str] = field(default_factory=list)

    def add(self, item: Item, position: str = "") -> None:
        """Add one item; a known id is a repeat, or a conflict when its content differs."""
        if isinstance(item, CheckedTrade):
            self._add_trade(item, position)
        elif isinstance(item, TickId):
            known = self.ticks[item.key]
            self.tick_repeats += item.tick_id in known
            known.add(item.tick_id)
        else:
            self.rejections.append(item)

    def _add_trade(self, trade: CheckedTrade, position: str) -> None:
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
        """Add everything of one source."""
        bounds: dict[CheckedStream, tuple[int, int]] = {}
        refused: set[str] = set()
        for item in offered:
            if isinstance(item, Rejection) and _names_event(item):
                if item.key in refused:
                    continue  # one dead letter per source and id, however often the source repeats it
                refused.add(item.key)
            self.add(item, name)
            if isinstance(item, CheckedTrade):
                low, high = bounds.get(item.key, (item.trade_id, item.trade_id))
                bounds[item.key] = (min(low, item.trade_id), max(high, item.trade_id))
        self.spans += [(key, low, high) for key, (low, high) in bounds.items()]
        self.sources.append(name)

    def file_spans(self) -> dict[CheckedStream, tuple[int, int]]:
        """Return the first and last id of each stream over all replayed files together."""
        spans: dict[CheckedStream, tuple[int, int]] = {}
        for key, low, high in self.spans[: self.files_end]:
            first, last = spans.get(key, (low, high))
            spans[key] = min(first, low), max(last, high)
        return spans

    @property
    def count(self) -> int:
        """Return the number of distinct valid trades."""
        return sum(map(len, self.trades.values()))


def _names_event(rejection: Rejection) -> bool:
    """Return whether a rejection has a readable trade id.

    A conflict rejects a payload, not an id.
    """
    return rejection.reason != "conflict" and _TRADE_ID.fullmatch(rejection.key) is not None


def same_payload(first: CheckedTrade, other: CheckedTrade) -> bool:
    """Return whether two deliveries of an id are equal.

    REST and streams may give its time in ms or in µs.
    """
    return first._replace(time_us=0) == other._replace(time_us=0) and first.time_us // 1000 == other.time_us // 1000


def load_files(home: Path, truth: OfferedEvents, without: Collection[str] = ()) -> None:
    """Read every file that `<home>/truth/files.jsonl` names.

    Args:
        home: The lakehouse.
        truth: Receives what the files offered.
        without: Paths or names of files that are not read, `truth.left_out` then.

    Raises:
        PrerequisiteMissing: A replayed file is gone.
        ConfigurationError: A file is not the one that was replayed, or the record of the replays
            does not parse.
    """
    for entry in replayed(home / "truth" / "files.jsonl"):
        path = Path(entry["path"])
        if not {str(path), path.name}.isdisjoint(without):
            truth.left_out.append(str(path))
            continue
        _require_same(path, entry["sha256"])
        truth.add_all(items(path, Source(entry["market"], entry.get("symbol") or "")), path.name)
    truth.files_end = len(truth.spans)


def replayed(record: Path) -> list[dict[str, Any]]:
    """Return the entries of `files.jsonl`, each (sha256, market) once.

    There are none when there is no such file.

    Raises:
        ConfigurationError: A line is not an object with path, sha256 and market.
    """
    if not record.exists():
        return []
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for number, line in enumerate(record.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            entries.setdefault((entry["sha256"], entry["market"]), {"path": entry["path"]} | entry)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{record}:{number} is not a record of a replayed file: {error!r}.") from error
    return list(entries.values())


def _require_same(path: Path, sha256: str) -> None:
    if not path.exists():
        raise PrerequisiteMissing(
            f"The replayed file {path} is gone, so what it offered is unknown.",
            safe="The stores are untouched.",
            next_command=f"put it back, or tickhouse reconcile --without {shlex.quote(str(path))}",
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ConfigurationError(
            f"{path} is not the file that was replayed: expected sha256 {sha256}, was {found}.",
            next_command="put the replayed file back, or replay the new one, or "
            f"tickhouse reconcile --without {shlex.quote(str(path))}",
        )
