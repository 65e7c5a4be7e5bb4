"""A core over a temporary folder, without any server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.lakefs.blocks import LocalBlocks
from stack.lakefs.database import Database
from stack.lakefs.gitstore import GitStore
from stack.lakefs.model import Core
from stack.lakefs.trees import Trees


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    folder: Path = tmp_path_factory.mktemp("core")
    database = Database(folder / "metadata.sqlite3")
    git = GitStore(database)
    yield Core(database, git, Trees(git), LocalBlocks(folder), time.time)
    database.close()
