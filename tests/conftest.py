"""The running stack that integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.homes import own_home
from tickhouse.settings import Settings, load_settings


@dataclass(frozen=True)
class Stack:
    """The session's stack: one home, services started when a test first asks for them.

    def test_x(stack: Stack) -> None:
        settings = stack.up("kafka", "registry")
    """

    home: Path

    def up(self, *services: str) -> Settings:
        """Start the named services and what they need (without names: profile core), and return the settings."""
        from stack.engine import up

        up(services=list(services) or None)
        return load_settings()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Yield the stack of this test session; everything is taken down and removed at its end."""
    with own_home() as home:
        yield Stack(home)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run unit tests first: they take seconds and say most."""
    items.sort(key=lambda item: "/tests/unit/" not in item.path.as_posix())


class ByStack(LoadScopeScheduling):
    """Gives one worker the tests of parts and another those of the whole pipeline (`make test`), then both unit tests.

    Each stack is started once, and both cores have work: the pipeline mostly waits for something that was killed.
    """

    def _split_scope(self, nodeid: str) -> str:
        layer = nodeid.split("/")[1]
        return {"e2e": "pipeline", "faults": "pipeline", "unit": nodeid}.get(layer, "parts")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStack:
    """Schedule by stack, whatever `--dist` says."""
    return ByStack(config, log)
