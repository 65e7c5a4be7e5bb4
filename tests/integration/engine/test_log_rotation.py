"""supervisord rotates the log of a program that never stops writing."""

from __future__ import annotations

import sys

import pytest

from stack.engine.context import logs_dir
from stack.engine.lifecycle import up
from stack.engine.model import ProgramDefinition, Ready, Service
from tests.eventually import eventually
from tests.homes import own_home

pytestmark = pytest.mark.integration

# More than twice what is kept: a program that logs half a megabyte per day for ninety days.
WRITTEN_MB = 45
KEPT_MB = 40
WRITE = f"""
import pathlib, signal, sys
line = ("a message of the program " * 40 + chr(10)).encode()
for _ in range({WRITTEN_MB} * (1 << 20) // len(line)):
    sys.stdout.buffer.write(line)
sys.stdout.buffer.write(b"the last line" + chr(10).encode())
sys.stdout.flush()
pathlib.Path("done").touch()
signal.pause()
"""


def test_a_log_keeps_two_files_of_twenty_megabytes() -> None:
    with own_home() as home:
        writer = Service(
            name="writer",
            title="writer",
            profiles=("core",),
            programs={"writer": ProgramDefinition(command=(sys.executable, "-c", WRITE))},
            ready=Ready(command=("/usr/bin/test", "-d", "/")),
            memory_mb=10,
        )
        up(services=["writer"], known={"writer": writer})
        eventually((home / "data" / "writer" / "done").exists, 120.0, 0.25)
        eventually(lambda: (logs_dir() / "writer.log").read_bytes().endswith(b"the last line\n"), 30.0, 0.25)

        files = {path.name: path.stat().st_size for path in logs_dir().glob("writer.log*")}
        assert set(files) == {"writer.log", "writer.log.1"}
        assert sum(files.values()) < (KEPT_MB + 1) << 20
