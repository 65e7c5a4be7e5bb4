"""PostgreSQL with a small market; other stores start when a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common.settings import Settings, load_settings
from stack.engine.lifecycle import up
from tests.homes import own_home
from tests.integration.boards.stored_market import fill


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with own_home():
        up(services=["postgres"])
        made = load_settings()
        fill(made, tmp_path_factory.mktemp("lake"))
        yield made
