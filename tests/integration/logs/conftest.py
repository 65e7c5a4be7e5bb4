"""Elasticsearch and the log shipper in a home of their own; the tests write the logs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.clients.elasticsearch import connected
from common.errors import StoreUnavailable
from common.settings import Settings
from tests.conftest import Stack
from tests.eventually import eventually
from tests.homes import own_home
from tickhouse.logs.search import INDICES


@dataclass
class LogHome:
    """A home whose logs are shipped."""

    home: Path
    settings: Settings
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def log(self, program: str) -> Path:
        return self.home / "logs" / f"{program}.log"

    def kafka_lines(self, marker: str, count: int) -> str:
        """Return lines as Kafka writes them, each with a time of its own."""
        now = datetime.now(UTC)
        times = (now + timedelta(milliseconds=next(self._numbers)) for _ in range(count))
        return "".join(f"{time:%Y-%m-%dT%H:%M:%S},{time.microsecond // 1000:03} INFO Test: {marker} {number}\n"
                       for number, time in enumerate(times))  # fmt: skip

    def append(self, program: str, text: str) -> None:
        with self.log(program).open("a") as file:
            file.write(text)

    def documents(self, query: dict[str, Any], size: int = 100) -> list[dict[str, Any]]:
        place = [{"@timestamp": "asc"}, {"log.offset": "asc"}]
        try:
            with connected(self.settings, "reader") as client:
                answer = client.search(index=INDICES, size=size, query=query, sort=place)
        except StoreUnavailable:  # the shard of a new index has not started yet
            return []
        return [hit["_source"] for hit in answer["hits"]["hits"]]

    def marked(self, marker: str, size: int = 10_000) -> list[dict[str, Any]]:
        return self.documents({"match_phrase": {"message": marker}}, size)

    def wait_for(self, marker: str, count: int) -> list[dict[str, Any]]:
        """Wait until at least so many messages with a marker are in the index; return them."""

        def enough() -> list[dict[str, Any]]:
            found = self.marked(marker)
            return found if len(found) >= count else []

        return eventually(enough, timeout_s=60)


@pytest.fixture(scope="session")
def logs() -> Iterator[LogHome]:
    with own_home() as home:
        settings = Stack(home).up("log_shipper")
        yield LogHome(home, settings)
