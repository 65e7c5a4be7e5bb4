"""Files and tools that stand beside the repository; a test skips where its file is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.settings import REPO

DATA = Path(os.environ.get("TICKHOUSE_SHARED_DATA", REPO.parent / "shared" / "data"))
TOOLS = Path(os.environ.get("TICKHOUSE_SHARED_TOOLS", REPO.parent / "shared" / "tools"))


def field_file(name: str) -> Path:
    """Return the path of a file that somebody reported; skip the test where it is absent."""
    return _present(DATA / "field" / name, "TICKHOUSE_SHARED_DATA")


def capture(name: str) -> Path:
    """Return the path of a real capture; skip the test where it is absent."""
    return _present(DATA / name, "TICKHOUSE_SHARED_DATA")


def tool(name: str) -> Path:
    """Return the path of a small server that misbehaves; skip the test where it is absent."""
    return _present(TOOLS / name, "TICKHOUSE_SHARED_TOOLS")


def _present(path: Path, variable: str) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is absent ({variable} names the folder)")
    return path
