"""Replays of real files onto a log in memory: what `tickhouse replay` does, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from producer.ledger.gaps import GapBook
from producer.parsing.source_files import open_source
from producer.replay import ReplayedFile, replay
from producer.writer.ledger_store import LedgerStore, file_writer
from producer.writer.open_writer import Writer
from tests.unit.producer.fakes import NOW_US, FakeOutbox, intake_on


class InMemoryMessage:
    """A record with the methods of `confluent_kafka.Message`."""

    def __init__(self, topic: str, offset: int, key: bytes | str | None, value: bytes, headers: dict[str, str]) -> None:
        self._topic, self._offset, self._value = topic, offset, value
        self._key = key.encode() if isinstance(key, str) else key
        self._headers = [(name, text.encode()) for name, text in headers.items()]

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes:
        return self._value

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers


class InMemoryLog:
    """The topics that an outbox wrote, one partition each, with the methods of `TopicLog`."""

    def __init__(self, outbox: FakeOutbox) -> None:
        self._outbox = outbox
        self.read_records = 0

    def _all(self, topic: str) -> list[InMemoryMessage]:
        records = [record for record in self._outbox.records if record[0] == topic]
        return [InMemoryMessage(topic, at, key, value, headers) for at, (_, key, value, headers) in enumerate(records)]

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        return {0: (0, self._count(topic))}

    def ends(self, topic: str) -> dict[str, int]:
        return {"0": self._count(topic)}

    def _count(self, topic: str) -> int:
        return sum(record[0] == topic for record in self._outbox.records)

    def offsets_at(self, topic: str, time_us: int) -> dict[int, int]:
        return {0: 0}

    def read(
        self, topic: str, start: dict[int, int] | None = None, until: dict[int, int] | None = None
    ) -> Iterator[InMemoryMessage]:
        messages = self._all(topic)[(start or {}).get(0, 0) : None if until is None else until.get(0, 0)]
        self.read_records += len(messages)
        return iter(messages)

    def latest(self, topic: str) -> dict[str, Any]:
        values = {(message.key() or b"").decode(): message.value() for message in self._all(topic)}
        return {key: json.loads(value) for key, value in values.items() if value is not None}

    def close(self) -> None:
        pass


class InMemoryHome:
    """A log that every writer of one market shares, and the commands that write to it."""

    def __init__(self, market: str = "spot") -> None:
        self.outbox, self.market = FakeOutbox(), market
        self.log = InMemoryLog(self.outbox)

    def writer(self, name: str, *, is_forced: bool = False) -> Writer:
        """Return a writer as `producer.writer.open_writer.open_writer` makes it."""
        gaps, is_file = GapBook(), name.startswith("file:")
        store = LedgerStore(
            self.log, self.outbox, market=self.market, writer=name, sample_us=5_000_000, clock=lambda: NOW_US
        )
        store.load(gaps)
        intake = intake_on(
            self.outbox, prepare=store.prepare, writer=name, gaps=False if is_file else gaps, market=self.market,
            is_forced=is_forced,
        )  # fmt: skip
        intake.known_dead_letters = store.dead_letters
        if is_file:
            intake.delivered = store.delivered_payloads()
        return Writer(intake, store, self.outbox, gaps, self.log)

    def replay(self, path: Path, symbol: str | None = "BTCUSDT", *, again: bool = False) -> ReplayedFile:
        """Replay a file."""
        source = open_source(path, symbol)
        return replay(source, self.writer(file_writer(source.sha256), is_forced=again))

    def ids(self) -> list[int]:
        return self.outbox.ids()

    def gaps(self, *states: str) -> list[tuple[int, int, str]]:
        """Return the gaps as (first id, last id, state), all or those in one of `states`."""
        gaps = sorted(
            (gap["first_id"], gap["last_id"], gap["state"]) for gap in self.log.latest("crypto.gaps").values()
        )
        return [gap for gap in gaps if not states or gap[2] in states]

    def letters(self) -> list[tuple[str, str]]:
        """Return (event id, reason) of the dead letters."""
        return [(key, headers["reason"]) for key, _, headers in self.outbox.letters()]


def write_archive(path: Path, ids: Iterable[int], **columns: str) -> Path:
    """Write a spot archive of aggregate trades.

    Args:
        path: The file.
        ids: The id of each row.
        columns: Values of `price`, `qty` or `maker` for all rows.
    """
    row = {"price": "100.5", "qty": "2.0", "maker": "True"} | columns
    path.write_text(
        "".join(
            f"{n},{row['price']},{row['qty']},{n},{n},{1_639_474_150_000 + n % 10**6},{row['maker']},True\n"
            for n in ids
        )
    )
    return path


def write_bad_archive(path: Path, ids: Iterable[int], **columns: str) -> Path:
    """Write an archive whose rows of `ids` are rejected, after a good row with the id before them.

    Without the good row `replay` would refuse the whole file before it sends anything: none of the
    first rows could be read.
    """
    numbers = list(ids)
    good = write_archive(path, [numbers[0] - 1]).read_text()
    path.write_text(good + write_archive(path, numbers, **columns).read_text())
    return path
