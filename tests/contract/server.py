"""Start, kill and restart a stand-in for one test."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.eventually import eventually
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
ACCESS_KEY = "AKIAcontract"
SECRET_KEY = "contract/secret+key"


@dataclass(frozen=True)
class Endpoint:
    """The address and keys of the server under test."""

    url: str
    access_key: str
    secret_key: str
    is_standin: bool

    @property
    def address(self) -> str:
        return self.url.split("://", 1)[1].rstrip("/")


@dataclass
class StandInProcess:
    """One stand-in process on one data folder; a restart uses the same port."""

    data: Path
    port: int = field(default_factory=free_port)
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.port}", ACCESS_KEY, SECRET_KEY, is_standin=True)

    def start(self) -> StandInProcess:
        environment = {
            **os.environ,
            "LAKEFS_ACCESS_KEY_ID": ACCESS_KEY,
            "LAKEFS_SECRET_ACCESS_KEY": SECRET_KEY,
            **self.environment,
        }
        command = [
            sys.executable,
            "-m",
            "standins.lakefs",
            "--listen",
            f"127.0.0.1:{self.port}",
            "--data",
            str(self.data),
        ]
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments], cwd=REPOSITORY, env=environment, stdout=log, stderr=log
            )
        eventually(self._is_healthy, timeout_s=60, every_s=0.05)
        return self

    def _is_healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the stand-in stopped while starting"
        try:
            return call_api(self.endpoint, "GET", "/healthcheck")[0] == 204
        except ConnectionError:
            return False

    def kill(self) -> None:
        """Kill the process with SIGKILL, like a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return code


def call_api(
    endpoint: Endpoint, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """Call the API without an SDK; return (status, parsed JSON or bytes, headers)."""
    pair = base64.b64encode(f"{endpoint.access_key}:{endpoint.secret_key}".encode()).decode()
    sent = {"Authorization": f"Basic {pair}", "Content-Type": "application/json", **(headers or {})}
    connection = http.client.HTTPConnection(endpoint.address, timeout=30)
    try:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        connection.request(method, f"/api/v1{path}", data, sent)
        answer = connection.getresponse()
        content = answer.read()
        is_json = answer.headers.get_content_type() == "application/json" and content
        return answer.status, json.loads(content) if is_json else content, dict(answer.headers)
    finally:
        connection.close()
