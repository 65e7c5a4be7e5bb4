"""The shared state of a stand-in on a temporary folder, without a server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from standins.lakefs.blocks import LocalBlocks
from standins.lakefs.database import MetadataDatabase
from standins.lakefs.git_store import GitStore
from standins.lakefs.model import Core
from standins.lakefs.trees import Trees


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    folder: Path = tmp_path_factory.mktemp("core")
    database = MetadataDatabase(folder / "metadata.sqlite3")
    git = GitStore(database)
    yield Core(database, git, Trees(git), LocalBlocks(folder), time.time)
    database.close()
