"""The text of the unit (pure). What each line is for stands beside it in the unit itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.engine.model import Service

NAME = "tickhouse.service"
# The first line of a unit that this command wrote; any other file is left alone.
MARK = "# Written by `tickhouse service install`; the next install overwrites changes."
# The first start downloads and builds servers.
START_S = 3600
# `down` stops services one after another at worst, then supervisord and what is left.
STOP_MARGIN_S = 120


@dataclass(frozen=True)
class UnitPlan:
    """What a unit is written from.

    Args:
        command: The program `tickhouse`.
        home: The home.
        repo: The clone.
        profile: What starts.
        environment: Variables without secrets.
        environment_file: A file that somebody may write, with further variables and secrets.
        stop_s: How long a stop may take.
        user: The user of a system unit; empty for a unit of the user's own manager.
        memory_max_mb: Limit of all processes together; None for no limit.
    """

    command: Path
    home: Path
    repo: Path
    profile: str
    environment: Mapping[str, str]
    environment_file: Path
    stop_s: int
    user: str = ""
    memory_max_mb: int | None = None

    @property
    def is_system(self) -> bool:
        """Return whether the machine's manager runs it, and not the user's."""
        return bool(self.user)

    def text(self) -> str:
        """Return the unit."""
        network = ["Wants=network-online.target", "After=network-online.target"] if self.is_system else []
        limit = [f"MemoryMax={self.memory_max_mb}M"] if self.memory_max_mb else []
        program = quoted(str(self.command))
        lines = [
            MARK,
            "[Unit]",
            f"Description=Tickhouse lakehouse in {escaped(str(self.home))} (profile {self.profile})",
            *network,
            # Both may be on a disk of their own.
            f"RequiresMountsFor={quoted(str(self.home))} {quoted(str(self.repo))}",
            "# After five failed starts within an hour it stays down, so that a person looks at it.",
            "StartLimitIntervalSec=3600",
            "StartLimitBurst=5",
            "",
            "[Service]",
            "# `up` ends when every service is ready; supervisord, which it leaves behind, is the main process.",
            "Type=forking",
            f"PIDFile={escaped(str(self.home))}/run/supervisord.pid",
            *([f"User={self.user}"] if self.is_system else []),
            f"WorkingDirectory={escaped(str(self.repo))}",
            *(f"Environment={quoted(f'{name}={value}')}" for name, value in sorted(self.environment.items())),
            "# Addresses of external services and their passwords, if there are any (mode 0600).",
            f"EnvironmentFile=-{escaped(str(self.environment_file))}",
            "# What was started by hand, or outlived a killed supervisord, is stopped first.",
            f"ExecStartPre={program} down",
            f"ExecStart={program} up --profile {self.profile}",
            "# Dependants first, each with its own signal and time.",
            f"ExecStop={program} down",
            f"TimeoutStartSec={START_S}",
            f"TimeoutStopSec={self.stop_s}",
            "Restart=on-failure",
            "RestartSec=15",
            "# Only supervisord gets SIGTERM: it knows the signal of each server. After the timeout, SIGKILL for all.",
            "KillMode=mixed",
            "# A server that ran out of memory is started again by supervisord; the others go on.",
            "OOMPolicy=continue",
            "LimitNOFILE=65536",
            "LimitCORE=0",
            "TasksMax=8192",
            *limit,
            "NoNewPrivileges=yes",
            "",
            "[Install]",
            f"WantedBy={'multi-user.target' if self.is_system else 'default.target'}",
        ]
        return "\n".join(lines) + "\n"


def stop_seconds(services: Iterable[Service]) -> int:
    """Return how long `tickhouse down` may take when every server uses all of its time."""
    return STOP_MARGIN_S + sum(service.stop.wait_s for service in services)


def escaped(text: str) -> str:
    """Return a value in which systemd replaces nothing."""
    return text.replace("%", "%%")


def quoted(text: str) -> str:
    """Return one word of a command line or of a list of values."""
    inner = escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{inner}"'
