"""Read from the connector files which connector uses which secret in which field.

The guard of the worker's REST API (connectors/plugins, package rest) gives a secret to no other
connector and no other field. Standard library only: `compose/prepare.py` uses it too.
"""

from __future__ import annotations

import json
from pathlib import Path

REFERENCE = "${"
CLASS = "connector.class"


def secret_fields(config: dict[str, str]) -> dict[str, str]:
    """Return the fields that refer to secrets, and the class.

    Empty for a connector without secrets.
    """
    fields = {name: value for name, value in config.items() if REFERENCE in value}
    return {CLASS: config[CLASS], **fields} if fields else {}


def document(folder: Path) -> str:
    """Return the secret fields of all `<folder>/*.json` as JSON: connector to field to value."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return json.dumps({file["name"]: secret_fields(file["config"]) for file in files}, indent=2)
