"""Hooks of the MongoDB-compatible server: classes, readiness, indexes."""

from __future__ import annotations

from pathlib import Path

import yaml

from common.clients.mongodb import connected
from common.errors import StoreUnavailable
from common.settings import REPO
from stack.engine.context import ServiceContext
from stack.engine.fetch import class_dir, jar_dir
from stack.engine.progress import LineReporter

HERE = REPO / "stack" / "mongodb"
INDEXES = REPO / "connectors" / "mongodb" / "indexes.yaml"


def classes(progress: LineReporter) -> Path:
    """Return the folder of the server's compiled classes."""
    return class_dir(sorted(HERE.glob("*.java")), jar_dir(HERE / "pom.xml", progress))


def is_ready(context: ServiceContext) -> bool:
    """Return whether the server can read; after a full disk it still responds to a ping."""
    try:
        with connected(context.settings) as database:
            database["trades"].find_one()
            return True
    except StoreUnavailable:
        return False


def create_indexes(context: ServiceContext) -> None:
    """Create the missing indexes of `connectors/mongodb/indexes.yaml`.

    Raises:
        StoreUnavailable: The server does not respond.
    """
    wanted: dict[str, list[dict[str, int]]] = yaml.safe_load(INDEXES.read_text())
    with connected(context.settings) as database:
        for collection, indexes in wanted.items():
            for keys in indexes:
                database[collection].create_index(list(keys.items()))
