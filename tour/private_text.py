"""What only this machine may know, and no cast, picture or page may show."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from common.settings import REPO, Settings
from stack.engine.secrets import read_secrets

SHORTEST_SECRET, SHORTEST_HOST = 12, 6
# Names of keys and users are no secrets.
PUBLIC = ("_ACCESS_KEY_ID", "_USER")


def private_text(settings: Settings) -> dict[str, str]:
    """Return each text that must not be shown, to what it is."""
    secrets = read_secrets(settings.home / "secrets.env")
    known = {
        value: name for name, value in secrets.items() if len(value) >= SHORTEST_SECRET and not name.endswith(PUBLIC)
    }
    paths = {str(REPO): "the folder of the project", str(Path.home()): "the home folder"}
    host = socket.gethostname()
    # A short name is part of ordinary words.
    return known | paths | ({host: "the host"} if len(host) >= SHORTEST_HOST else {})


def refuse_private(text: str, what: str, private: Mapping[str, str]) -> None:
    """Refuse text in which something private is.

    Raises:
        ValueError: It is; the message names it and does not repeat it.
    """
    found = sorted({name for value, name in private.items() if value in text})
    if found:
        raise ValueError(f"{what} shows {', '.join(found)}.")
