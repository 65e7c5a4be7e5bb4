"""The typed form of `stack/backup.yaml`: what of a home is saved, and why."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ConfigurationError
from common.settings import REPO

FILE = REPO / "stack" / "backup.yaml"
DATA = "data"

Kind = Literal["source", "derived", "scratch", "stateless"]


class BackupRule(BaseModel):
    """The rule of one service or path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    why: str = ""

    @property
    def is_saved(self) -> bool:
        """Return whether it is part of a backup."""
        return self.kind in ("source", "derived", "stateless")


# What nobody named is saved.
UNNAMED = BackupRule(kind="source", why="not named in stack/backup.yaml")


class BackupRules(BaseModel):
    """The rules of every service of the catalog, and of the paths beside their data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    services: dict[str, BackupRule]
    paths: dict[str, BackupRule]

    def rule(self, path: PurePosixPath) -> BackupRule:
        """Return the rule of a path in the home: that of its nearest folder that has one."""
        for place in (path, *path.parents):
            if (found := self.paths.get(str(place))) is not None:
                return found
        folder, _, service = part_of(path).partition("/")
        return self.services.get(service, UNNAMED) if folder == DATA else UNNAMED

    def left_out(self) -> dict[str, str]:
        """Return what is not saved, with the reason."""
        services = {f"{DATA}/{name}": rule for name, rule in self.services.items()}
        return {name: rule.why for name, rule in {**services, **self.paths}.items() if not rule.is_saved}


def part_of(path: PurePosixPath) -> str:
    """Return the part of the backup that a path belongs to.

    That is `data/<service>`, and otherwise the first folder or file of the path.
    """
    return "/".join(path.parts[: 2 if path.parts[0] == DATA else 1])


def load(path: Path = FILE) -> BackupRules:
    """Return the rules.

    Raises:
        ConfigurationError: The file does not fit the model; the message names the field.
    """
    try:
        return BackupRules.model_validate(yaml.safe_load(path.read_text()))
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} does not declare what a backup saves: {error}") from error
