"""The market of a demo: `standins/exchange/demo.yaml` with the changes of the command line."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from standins.exchange.config import DEMO, load_config

FILE: Final = "exchange.yaml"
LIGHT: Final = Path(__file__).with_name("light.yaml")


@dataclass(frozen=True)
class MarketOptions:
    """The market options of the command line.

    Attributes:
        pace: Most seconds of event time per second; None for the value of the file.
        events: Number of aggregate trades; None for the value of the file.
        is_light: Fewer symbols and trades.
    """

    pace: float | None = None
    events: int | None = None
    is_light: bool = False


def check(options: MarketOptions) -> None:
    """Check the options before anything is removed or started.

    Raises:
        ConfigurationError: The pace or the number of events is out of bounds.
    """
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch), options)


def document(options: MarketOptions) -> dict[str, Any]:
    """Return the configuration of the exchange."""
    found: dict[str, Any] = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    if options.is_light:
        found["market"] |= yaml.safe_load(LIGHT.read_text())
    if options.events is not None:
        found["market"]["events"] = options.events
    if options.pace is not None:
        found["playback"]["speed"] = options.pace
    return found


def write(folder: Path, options: MarketOptions) -> Path:
    """Write the configuration into a home and return its path.

    Raises:
        ConfigurationError: The options are invalid, for example too few events for the symbols.
    """
    path = folder / FILE
    path.write_text(yaml.safe_dump(document(options), sort_keys=False))
    load_config(path)
    return path
