"""The disk space of a folder."""

from __future__ import annotations

from pathlib import Path


def folder_bytes(root: Path) -> int | None:
    """Return the disk space of a folder in bytes; None when it is not on this machine."""
    if not root.exists():
        return None
    total = 0
    for path in root.rglob("*"):
        try:
            total += path.stat().st_blocks * 512 if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
