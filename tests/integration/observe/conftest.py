"""Prometheus and all that leads from it to a notification, on real servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from common.settings import Settings, ports
from tests.conftest import Stack
from tests.eventually import eventually
from tickhouse.notifications.channels.file import FileChannel

SERVICES = ("prometheus", "exporters", "lake_gate", "redis", "notifications", "api")
PATIENCE_S = 180.0


@dataclass(frozen=True)
class Observed:
    """The running stack, asked through Prometheus and through the file of the notifications."""

    settings: Settings

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query."""
        address = f"http://127.0.0.1:{ports()['prometheus']}/api/v1/query"
        answer = httpx.get(address, params={"query": expression}, trust_env=False).raise_for_status()
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def values(self, expression: str, label: str) -> dict[str, float]:
        """Return the values of an instant query by one label."""
        return {one["metric"].get(label, ""): float(one["value"][1]) for one in self.query(expression)}

    def notified(self, rule: str, about: str = "") -> list[dict[str, Any]]:
        """Return what the file channel got of a rule, by part of the subject."""
        lines = b"".join(path.read_bytes() for path in FileChannel(self.settings.home).files()).decode().splitlines()
        return [one for one in map(json.loads, lines) if one["rule"] == rule and about in one["subject"]]

    def awaited(self, probe: Callable[[], Any]) -> Any:
        """Return what a probe returns once it is true."""
        return eventually(probe, PATIENCE_S)


@pytest.fixture(scope="package")
def observed(stack: Stack) -> Observed:
    return Observed(stack.up(*SERVICES))
