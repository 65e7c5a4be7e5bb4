"""Hooks of Geode: the compiled node, and readiness."""

from __future__ import annotations

from pathlib import Path

from common.clients.geode import REGIONS, connected
from common.errors import TickhouseError
from common.settings import REPO
from stack.engine.context import ServiceContext
from stack.engine.fetch import class_dir, jar_dir
from stack.engine.progress import LineReporter

HERE = REPO / "stack" / "geode"


def classes(progress: LineReporter) -> Path:
    """Return the folder of the node's compiled classes."""
    return class_dir(sorted(HERE.glob("*.java")), jar_dir(HERE / "pom.xml", progress))


def is_ready(context: ServiceContext) -> bool:
    """Return whether every region answers; they are recovered from the disk before that."""
    try:
        with connected(context.settings, "reader") as geode:
            return all(geode.count(region) >= 0 for region in REGIONS)
    except TickhouseError:
        return False
