"""Hook of the local exchange: its synthetic market must not mix with real trades."""

from __future__ import annotations

from pathlib import Path

import yaml

from common.errors import ConfigurationError
from common.market_kind import refuse_other
from stack.engine.context import ServiceContext


def refuse_real_home(context: ServiceContext) -> None:
    """Refuse to start a synthetic market in a home that holds real trades.

    A capture holds real trades itself, so it may be played there.

    Raises:
        ConfigurationError: The home holds real trades, or the configuration cannot be read.
    """
    command = context.argv(context.service.command or ())
    if not _plays_capture(Path(command[command.index("--config") + 1])):
        refuse_other(context.home, "simulated")


def _plays_capture(path: Path) -> bool:
    """Return whether a configuration of the exchange has the key `capture`.

    The exchange checks the rest of the file itself when it starts.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"The exchange configuration {path} does not load: {error}", safe="Nothing was started."
        ) from error
    return isinstance(document, dict) and document.get("capture") is not None
