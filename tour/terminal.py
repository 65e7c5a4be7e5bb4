"""Run a command in a terminal of its own, and record what it writes, with times."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS, LINES = 110, 34


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a command wrote at once, `at_s` seconds after its start."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A command that has ended: what it wrote, and its exit code and duration."""

    command: str
    chunks: tuple[Chunk, ...]
    exit_code: int
    seconds: float


def record(command: Sequence[str], *, shown: str, folder: Path, environment: Mapping[str, str]) -> Recording:
    """Run a command in a pseudo terminal until it ends.

    Args:
        command: Program and arguments.
        shown: The command as a person types it.
        folder: Where it runs.
        environment: All its variables; those of the terminal are added.
    """
    terminal = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=folder, env={**environment, **terminal}, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    ) as process:
        os.close(theirs)
        chunks = _chunks(ours, began)
    os.close(ours)
    return Recording(shown, tuple(chunks), process.returncode, time.monotonic() - began)


def _chunks(terminal: int, began: float) -> list[Chunk]:
    found: list[Chunk] = []
    rest = b""
    while data := _read(terminal):
        at = time.monotonic() - began
        text, rest = _decoded(rest + data)
        found.append(Chunk(at, text))
    return found


def _read(terminal: int) -> bytes:
    """Return the next output; empty when the command has closed its terminal (EIO on Linux)."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def _decoded(data: bytes) -> tuple[str, bytes]:
    """Return the text, and the bytes of a character at the end that is not complete yet."""
    for cut in range(len(data), max(len(data) - 4, -1), -1):
        try:
            return data[:cut].decode(), data[cut:]
        except UnicodeDecodeError:
            continue
    return data.decode(errors="replace"), b""
