"""A group of tests starts with servers of its own, whatever its worker ran before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from common.settings import REPO

CONFTEST = """
import pytest
from tests.conftest import pytest_runtest_protocol

@pytest.fixture(scope="session")
def server():
    print("start")
    yield
    print("stop")
"""
TEST = """
def test_one(server): print("one of", __name__.partition("_")[2])
def test_two(server): print("two of", __name__.partition("_")[2])
"""


def test_the_fixtures_of_the_session_end_with_their_group(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for folder, name in (("field", "a"), ("contract", "b"), ("contract", "c"), ("unit", "d"), ("unit", "e")):
        (tmp_path / "tests" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / folder / f"test_{name}.py").write_text(TEST)
    files = [f"tests/{one}" for one in ("field/test_a.py", "contract/test_b.py", "contract/test_c.py", "unit")]

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", *files],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    said = [line.strip(" .") for line in result.stdout.splitlines()]
    assert [line for line in said if line in ("start", "stop") or " of " in line] == [
        "start", "one of a", "two of a", "stop",
        "start", "one of b", "two of b", "one of c", "two of c", "stop",
        "start", "one of d", "two of d", "one of e", "two of e", "stop",
    ]  # fmt: skip
