"""The MongoDB-compatible server: its classes, readiness, the indexes of `connectors/mongodb/indexes.yaml`."""

from __future__ import annotations

from pathlib import Path

import yaml

from stack.engine.context import ServiceContext
from stack.engine.fetch import Progress, class_dir, jar_dir
from tickhouse.errors import StoreUnavailable
from tickhouse.settings import REPO
from tickhouse.stores.mongodb import connected

HERE = REPO / "stack" / "mongodb"
INDEXES = REPO / "connectors" / "mongodb" / "indexes.yaml"


def classes(progress: Progress) -> Path:
    """Return the folder of the server's compiled classes."""
    return class_dir(sorted(HERE.glob("*.java")), jar_dir(HERE / "pom.xml", progress))


def answers(context: ServiceContext) -> bool:
    """Return whether the server answers a ping."""
    try:
        with connected(context.settings) as database:
            return bool(database.command("ping")["ok"])
    except StoreUnavailable:
        return False


def create_indexes(context: ServiceContext) -> None:
    """Make the indexes that are missing.

    Raises:
        StoreUnavailable: The server does not answer.
    """
    wanted: dict[str, list[dict[str, int]]] = yaml.safe_load(INDEXES.read_text())
    with connected(context.settings) as database:
        for collection, indexes in wanted.items():
            for keys in indexes:
                database[collection].create_index(list(keys.items()))
