"""The settings file, `<home>/tickhouse.yaml`: what a lakehouse is to do.

Addresses and secrets are not in it: they come from the environment and `secrets.env`
(`common/settings.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import ConfigurationError
from common.live_job import SAMPLE_S, Market
from common.settings import home

PATH_VARIABLE: Final = "TICKHOUSE_SETTINGS_FILE"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MarketSection(_Section):
    """One market of section `live`; the fields are those of `common.live_job.LiveRequest`."""

    symbols: Literal["all"] | tuple[str, ...] = ()
    quote: str = ""
    top: int | None = Field(default=None, gt=0)
    streams: tuple[str, ...] = ("aggTrade", "ticker")
    sample_s: int = Field(default=SAMPLE_S, gt=0)
    rest_only: bool = False
    ws_url: str = ""
    rest_url: str = ""


class SettingsFile(_Section):
    """The whole file.

    Args:
        live: What `tickhouse live start` takes, by market.
    """

    live: dict[Market, MarketSection] = {}


def settings_path() -> Path:
    """Return the path of the file: `TICKHOUSE_SETTINGS_FILE`, or `tickhouse.yaml` in the home."""
    return Path(os.environ.get(PATH_VARIABLE) or home() / "tickhouse.yaml")


def load_settings_file(path: Path | None = None) -> SettingsFile:
    """Load the file; without one, every section is empty.

    Raises:
        ConfigurationError: A key is unknown, or a value is wrong; the message names it. Or a file
            that was asked for by name does not exist.
    """
    file = path or settings_path()
    if path is None and PATH_VARIABLE not in os.environ and not file.exists():
        return SettingsFile()
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        return SettingsFile.model_validate({} if document is None else document)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(
            f"The settings file {file} does not load: {error}",
            safe="Nothing was started.",
            next_command="docs/how-to/run-live.md shows a file",
        ) from error
