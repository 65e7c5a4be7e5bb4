"""Which services the demo starts."""

from __future__ import annotations

import pytest

from common.settings import SIZE
from tickhouse.demo.run import services


@pytest.mark.parametrize(("size", "profile", "has_connect"), [
    ("normal", "core", True), ("light", "core", False), ("light", "sinks", True),
])  # fmt: skip
def test_a_light_core_does_without_connect(
    monkeypatch: pytest.MonkeyPatch, size: str, profile: str, has_connect: bool
) -> None:
    monkeypatch.setenv(SIZE, size)
    assert ("connect" in services(profile)) == has_connect
