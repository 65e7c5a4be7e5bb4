"""The running stack that integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.homes import TESTS, own_home
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
    """Run unit tests first: they take seconds and say most.

    With two workers (`make test`) one runs the tests of parts, the other those of the whole pipeline, which mostly wait
    for something that was killed: so each stack is started once, and both cores have work.
    """
    items.sort(key=lambda item: _layer(item) != "unit")
    for item in items:
        if _layer(item) != "unit":
            whole = _layer(item) in ("e2e", "faults")
            item.add_marker(pytest.mark.xdist_group("pipeline" if whole else "parts"))


def _layer(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]
