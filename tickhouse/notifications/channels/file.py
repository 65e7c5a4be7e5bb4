"""The file channel: one JSON line per notification, exactly once, also over a crash."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from common.errors import StoreUnavailable
from tickhouse.notifications.notification import Notification

FOLDER, NAME = "notifications", "alerts.jsonl"
# A file holds about 10,000 alerts of 800 bytes; six files hold 60,000.
MOST_BYTES = 8 << 20
OLDER_FILES = 5


class FileChannel:
    """Appends to `<home>/notifications/alerts.jsonl`; `alerts.jsonl.1` is the file before it.

    Each line is on the disk before the notification counts as delivered. A repeat looks for its id
    first, so a worker that died between the two writes no second line.

    Args:
        home: The data folder of the stack.
        most_bytes: A longer file is rotated.
    """

    def __init__(self, home: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = home / FOLDER
        self._most_bytes = most_bytes

    async def send(self, notification: Notification, *, may_be_a_repeat: bool) -> None:
        """Append one line.

        Raises:
            StoreUnavailable: The disk refuses it.
        """
        await asyncio.to_thread(self.append, notification, may_be_a_repeat=may_be_a_repeat)

    def append(self, notification: Notification, *, may_be_a_repeat: bool) -> None:
        """Append one line, unless it is there.

        Raises:
            StoreUnavailable: The disk refuses it.
        """
        try:
            with self._locked():
                if not (may_be_a_repeat and notification.alert_id in self.alert_ids()):
                    self._append(notification.body + b"\n")
        except OSError as error:
            raise StoreUnavailable(f"The notification cannot be written: {error}.") from error

    def alert_ids(self) -> set[str]:
        """Return the ids of all alerts in the files."""
        return {str(json.loads(line)["alert_id"]) for path in self.files() for line in _whole_lines(path)}

    def files(self) -> list[Path]:
        """Return the files, oldest first."""
        names = [*(f"{NAME}.{number}" for number in range(OLDER_FILES, 0, -1)), NAME]
        return [self._folder / name for name in names if (self._folder / name).exists()]

    def _append(self, line: bytes) -> None:
        path = self._folder / NAME
        if path.exists() and path.stat().st_size + len(line) > self._most_bytes:
            self._rotate()
        with path.open("ab") as file:
            _cut_torn_line(path, file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _rotate(self) -> None:
        for number in range(OLDER_FILES, 0, -1):
            newer = self._folder / (NAME if number == 1 else f"{NAME}.{number - 1}")
            if newer.exists():
                newer.replace(self._folder / f"{NAME}.{number}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Several workers may append.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _whole_lines(path: Path) -> Iterator[bytes]:
    for line in path.read_bytes().split(b"\n")[:-1]:
        if line:
            yield line


def _cut_torn_line(path: Path, file: BinaryIO) -> None:
    """Remove the rest of a line whose writer died; its notification is written again."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        file.truncate(content.rfind(b"\n") + 1)
