"""A stack of its own: these tests remove what the tests of the sinks need."""

from __future__ import annotations

from tests.integration.sinks.conftest import sinks

__all__ = ["sinks"]
