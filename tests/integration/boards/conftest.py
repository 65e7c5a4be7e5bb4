"""PostgreSQL with a small market; other stores start when a test asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from common.settings import Settings, load_settings
from stack.engine.lifecycle import up
from tests.homes import own_home
from tests.integration.boards.stored_market import fill
from tests.unit.observe_boards import reference_page


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with own_home():
        up(services=["postgres"])
        made = load_settings()
        fill(made, tmp_path_factory.mktemp("lake"))
        yield made


@pytest.fixture(scope="package")
def rows_of_queries() -> Iterator[dict[str, int]]:
    """Takes how many rows each query returned, for the reference page."""
    counts: dict[str, int] = {}
    yield counts
    if os.environ.get("TICKHOUSE_UPDATE_SNAPSHOTS"):
        reference_page.update(counts)
