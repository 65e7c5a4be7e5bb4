"""Local exchanges in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

REPO = Path(__file__).resolve().parents[3]

Start = Callable[[dict[str, Any]], "ExchangeProcess"]


@dataclass(frozen=True)
class ExchangeProcess:
    """One running local exchange."""

    address: str
    home: Path
    process: subprocess.Popen[str]

    def ws(self, path: str) -> str:
        return f"ws://{self.address}{path}"

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"http://{self.address}{path}", headers=headers, timeout=10)

    def state(self) -> dict[str, Any]:
        return self.get("/tickhouse/state").json()  # type: ignore[no-any-return]

    def truth(self) -> dict[str, Any]:
        return self.get("/tickhouse/truth").json()  # type: ignore[no-any-return]

    def fault(self, **values: object) -> None:
        httpx.post(f"http://{self.address}/tickhouse/fault", json=values, timeout=10).raise_for_status()

    def is_done(self) -> bool:
        return bool(self.state()["state"] == "done")


def run(arguments: list[str], home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TICKHOUSE_HOME": str(home), "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", "standins.exchange", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home
    )


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Start]:
    """Start local exchanges with a configuration; SIGTERM ends them after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(document: dict[str, Any]) -> ExchangeProcess:
        home = tmp_path / f"home-{len(started)}"
        home.mkdir()
        config = home / "exchange.yaml"
        config.write_text(yaml.safe_dump(json.loads(json.dumps(document))))
        process = run(["--listen", "127.0.0.1:0", "--config", str(config)], home)
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("exchange on http://"), process.communicate()
        return ExchangeProcess(line.strip().removeprefix("exchange on http://"), home, process)

    yield start
    for process in started:
        process.terminate()
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors
        assert not errors
