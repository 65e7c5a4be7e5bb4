"""Write, remove and look at the unit of this home."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from common.settings import REPO, SIZE, Settings, cache_dir, home
from stack.engine.graph import closure, in_profile
from stack.engine.lifecycle import catalog
from tickhouse.systemd.unit import MARK, NAME, UnitPlan, stop_seconds

SYSTEM_FOLDER = Path("/etc/systemd/system")
SYSTEM_ENVIRONMENT = Path("/etc/tickhouse/environment")
# The folder that systemd makes at boot; sd_booted(3) looks for it, too.
BOOTED = Path("/run/systemd/system")
# Variables that decide where and how large the stack is. They hold no secret.
KEPT = ("TICKHOUSE_PORT_BASE", SIZE, "TICKHOUSE_EXCHANGE_CONFIG", "JAVA_HOME", "PATH", "TZ")


@dataclass(frozen=True)
class UnitPlace:
    """Where a unit goes: to the machine's manager, or to the user's own.

    Args:
        is_system: Which one.
    """

    is_system: bool

    @property
    def path(self) -> Path:
        """Return the path of the unit."""
        return (SYSTEM_FOLDER if self.is_system else config_folder() / "systemd" / "user") / NAME

    @property
    def environment_file(self) -> Path:
        """Return the file in which a person may give further variables."""
        return SYSTEM_ENVIRONMENT if self.is_system else config_folder() / "tickhouse" / "environment"

    @property
    def manager(self) -> list[str]:
        """Return the start of a command to this manager."""
        return ["systemctl"] if self.is_system else ["systemctl", "--user"]

    def commands(self, *actions: str) -> list[str]:
        """Return commands for a shell."""
        return [" ".join([*self.manager, action]) for action in actions]


@dataclass(frozen=True)
class UnitStatus:
    """Whether the unit is there and is what `install` would write now, and what systemd says."""

    path: str
    is_installed: bool
    is_current: bool
    is_systemd_running: bool
    enabled: str
    active: str

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def config_folder() -> Path:
    """Return the folder of the user's configuration."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def is_booted() -> bool:
    """Return whether systemd runs this machine."""
    return BOOTED.is_dir()


def plan(place: UnitPlace, profile: str, memory_max_mb: int | None = None) -> UnitPlan:
    """Return the plan of this home's unit.

    Raises:
        ConfigurationError: There is no such profile, or a path has a line break.
    """
    known = catalog()
    services = [known[name] for name in closure(known, in_profile(known, profile))]
    kept = {name: os.environ[name] for name in KEPT if os.environ.get(name)}
    fixed = {"TICKHOUSE_HOME": str(home()), "XDG_CACHE_HOME": str(cache_dir().parent)}
    found = UnitPlan(
        command=Path(sys.prefix) / "bin" / "tickhouse",
        home=home(),
        repo=REPO,
        profile=profile,
        environment={**kept, **fixed},
        environment_file=place.environment_file,
        stop_s=stop_seconds(services),
        user=_owner() if place.is_system else "",
        memory_max_mb=memory_max_mb,
    )
    if any("\n" in text for text in (str(found.home), str(found.repo), *found.environment.values())):
        raise ConfigurationError("A path or variable has a line break, which no unit can hold.")
    return found


def _owner() -> str:
    """Return the user that a system unit runs as: who called sudo, or who we are."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def not_kept() -> list[str]:
    """Return the settings of this shell that are not written to the unit: they may hold secrets."""
    return sorted(name.upper() for name in Settings.model_fields if name.upper() in os.environ)


def install(place: UnitPlace, text: str) -> list[str]:
    """Write the unit; return the commands that are still to be run by a person.

    Raises:
        ConfigurationError: Another program's unit is there, or the folder cannot be written.
    """
    _refuse_foreign(place.path)
    try:
        place.path.parent.mkdir(parents=True, exist_ok=True)
        partial = place.path.with_suffix(".new")
        partial.write_text(text)
        partial.chmod(0o644)
        partial.replace(place.path)
    except PermissionError as error:
        raise _not_allowed(place, error) from error
    wanted = place.commands("daemon-reload", f"enable {NAME}")
    begin = place.commands(f"start {NAME}") + ([] if place.is_system else [f"loginctl enable-linger {_owner()}"])
    return begin if _is_done(wanted) else wanted + begin


def uninstall(place: UnitPlace) -> list[str]:
    """Remove the unit, which neither stops nor removes the home; return the commands to run.

    Raises:
        ConfigurationError: Another program's unit is there, or it cannot be removed.
    """
    _refuse_foreign(place.path)
    was_disabled = _is_done(place.commands(f"disable {NAME}"))
    try:
        place.path.unlink(missing_ok=True)
    except PermissionError as error:
        raise _not_allowed(place, error) from error
    if was_disabled and _is_done(place.commands("daemon-reload")):
        return []
    return place.commands(f"disable {NAME}", "daemon-reload")


def status(place: UnitPlace, text: str) -> UnitStatus:
    """Return the status of the unit, compared with the text that would be written now."""
    is_installed = place.path.exists()
    asked = is_installed and is_booted()
    return UnitStatus(
        path=str(place.path),
        is_installed=is_installed,
        is_current=is_installed and place.path.read_text() == text,
        is_systemd_running=is_booted(),
        enabled=_answer([*place.manager, "is-enabled", NAME]) if asked else "",
        active=_answer([*place.manager, "is-active", NAME]) if asked else "",
    )


def profile_of(place: UnitPlace, fallback: str) -> str:
    """Return the profile of the installed unit."""
    if place.path.exists():
        for line in place.path.read_text().splitlines():
            if line.startswith("ExecStart=") and " --profile " in line:
                return line.rpartition(" --profile ")[2]
    return fallback


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.read_text().startswith(MARK):
        raise ConfigurationError(
            f"{path} was not written by tickhouse.", safe="It was not changed.", next_command=f"move {path} away"
        )


def _not_allowed(place: UnitPlace, error: PermissionError) -> ConfigurationError:
    return ConfigurationError(
        f"{place.path} cannot be changed: {error.strerror}.",
        safe="Nothing was changed.",
        next_command="run it with sudo, or leave out --system for a unit of your own",
    )


def _is_done(commands: list[str]) -> bool:
    """Run commands of systemctl; return whether systemd runs and all of them succeeded."""
    return is_booted() and all(
        subprocess.run(command.split(), capture_output=True, check=False).returncode == 0 for command in commands
    )


def _answer(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
