"""The connector files: `connectors/<name>.json`, as Connect's REST API takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigurationError
from common.settings import REPO

FOLDER = REPO / "connectors"
DEAD_LETTERS = "errors.deadletterqueue.topic.name"


@dataclass(frozen=True)
class Connector:
    """The connector in one file: its name and its configuration; every value is text."""

    name: str
    config: dict[str, str]

    @property
    def store(self) -> str:
        """Return the store it fills, by the first word of its name."""
        return self.name.partition("-")[0]

    @property
    def topics(self) -> list[str]:
        """Return the topics it reads."""
        return [topic.strip() for topic in self.config["topics"].split(",")]

    @property
    def dead_letters(self) -> str:
        """Return its dead-letter topic."""
        return self.config[DEAD_LETTERS]


def read(folder: Path = FOLDER) -> dict[str, Connector]:
    """Read every connector file of a folder, by name.

    Raises:
        ConfigurationError: A file is not a connector; the message names it and what was expected.
    """
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    return {connector.name: connector for connector in found}


def read_files(paths: Iterable[Path]) -> dict[str, Connector]:
    """Read connector files from anywhere, by name.

    Raises:
        ConfigurationError: There is no such file, or it is not a connector.
    """
    found = [_read(path) for path in paths]
    return {connector.name: connector for connector in found}


def chosen(connectors: dict[str, Connector], names: Iterable[str]) -> dict[str, Connector]:
    """Return the named connectors; all without names.

    Raises:
        ConfigurationError: There is no file for a name.
    """
    wanted = list(names) or list(connectors)
    unknown = [name for name in wanted if name not in connectors]
    if unknown:
        raise ConfigurationError(f"Expected connectors of {', '.join(connectors)}, was {', '.join(unknown)}.")
    return {name: connectors[name] for name in wanted}


def _read(path: Path) -> Connector:
    try:
        document = json.loads(path.read_text())
        connector = Connector(document["name"], dict(document["config"]))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", safe="Nothing was changed.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is not a connector: expected name and config, was {error!r}.") from error
    _require(path, connector.name == path.stem, f"the name {path.stem}", connector.name)
    for key, value in connector.config.items():
        _require(path, isinstance(value, str), f"a text in {key}", repr(value))
    letters = connector.config.get(DEAD_LETTERS)
    _require(path, letters == f"dlq.{connector.name}", f"{DEAD_LETTERS} dlq.{connector.name}", str(letters))
    _require(path, "topics" in connector.config, "topics", "none")
    return connector


def _require(path: Path, is_right: bool, expected: str, was: str) -> None:
    if not is_right:
        raise ConfigurationError(f"{path}: expected {expected}, was {was}.")
