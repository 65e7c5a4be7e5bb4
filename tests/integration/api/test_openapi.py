"""schemathesis makes requests from the OpenAPI description, valid and not; none may fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.principals import KEY_HEADER
from tests.conftest import Stack
from tests.integration.api.conftest import Api

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
# All phases take ten minutes on a busy machine.
ALL_PHASES = ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "25"]


@pytest.mark.parametrize(
    "effort", [["--phases", "fuzzing", "--max-examples", "5"], pytest.param(ALL_PHASES, marks=pytest.mark.long)]
)
def test_schemathesis_finds_nothing(
    api: Api, stack: Stack, lake_commit: str, tmp_path: Path, effort: list[str]
) -> None:
    """Left out: the live stream, which has no end (test_live.py), and PUT (test_rules.py).

    The operations page's data needs Prometheus (tests/integration/boards/test_ops_boards.py).

    pydantic describes a decimal by a pattern that also matches texts which it refuses.
    """
    stack.up("kafka", "registry", "neo4j", "geode")  # a store that is off is a 503, which counts as a failure
    key = api.settings.api_rules_key.get_secret_value()
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{api.url}/openapi.json",
        "--header", f"{KEY_HEADER}: {key}", "--checks", "all", "--exclude-path-regex", "^/v1/(live|ops/.*)$",
        "--exclude-method", "PUT",
        "--seed", "10", "--no-color", "--generation-database", "none", "--request-timeout", "60", *effort,
    ]  # fmt: skip
    env = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert lake_commit, "requests with a reference have a commit to find"
