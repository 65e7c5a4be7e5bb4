"""Build a server from the Go module in a folder of ours, in the background, once per machine.

`go_build` is enough for a module that `go install` accepts. Other servers have a folder with
`go.mod`, `go.sum` and `build.yaml` (for example `stack/influxdb/build/`). Such a build takes up to
half an hour, so nothing waits for it: `make setup` starts it as a process of its own with the
lowest priority, and `tickhouse up` waits only when the service is asked for.

A build that was killed goes on where it was: Go and cargo keep what they compiled. The program is
put into the cache when it is complete. One process at a time builds, under a lock on a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from common.errors import PrerequisiteMissing, ServiceNotReady, TickhouseError
from common.settings import REPO, cache_dir
from stack.engine.go_build import find_go, go_proxies
from stack.engine.model import STACK, read_catalog
from stack.engine.progress import LineReporter, ignore_line

# What libflux 0.196 needs.
OLDEST_RUST = (1, 72)
WATCH_EVERY_S = 1.0
# The argument of `make setup`: start every build in the background, and print the cache folders.
START_ALL = "--start-all"
# Other programs need the processor meanwhile: `make demo` runs beside a build.
_PRIORITY = ["nice", "-n", "19"]
# Where Linux groups processes by session (autogroup), `nice` counts only within a session, and
# this value counts between sessions. With 10 a build gets a tenth of what another busy session
# gets: it ends even where nothing is ever idle.
_AUTOGROUP, _SESSION_NICE = Path("/proc/self/autogroup"), "10"

State = Literal["built", "building", "failed", "not started"]


class BuildFile(BaseModel):
    """The file `build.yaml` of a folder; each field is described in `stack/influxdb/build/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    program: str
    package: str
    version: str
    tags: tuple[str, ...] = ()
    pkg_config: str
    steps: int = Field(gt=0)


@dataclass(frozen=True)
class BuildState:
    """How far a build is; `detail` is one line for people."""

    state: State
    detail: str


@dataclass(frozen=True)
class SourceBuild:
    """The build of one folder.

    Args:
        folder: Path of the folder inside the repository.
    """

    folder: str

    @property
    def path(self) -> Path:
        """Return the folder."""
        return REPO / self.folder

    @cached_property
    def file(self) -> BuildFile:
        """Return the content of `build.yaml`."""
        return BuildFile.model_validate(yaml.safe_load((self.path / "build.yaml").read_text()))

    @cached_property
    def target(self) -> Path:
        """Return the cache folder; its name depends on the version and every file of the folder."""
        files = sorted(path for path in self.path.iterdir() if path.is_file())
        text = b"\0".join(path.name.encode() + path.read_bytes() for path in files)
        key = hashlib.sha256(text).hexdigest()[:12]
        return cache_dir() / "go" / f"{self.file.program}-{self.file.version}-{key}"

    @property
    def program(self) -> Path:
        """Return the program in the cache, which may not be there yet."""
        return self.target / self.file.program

    @property
    def log(self) -> Path:
        """Return the log of the build."""
        return self.target.with_name(f"{self.target.name}.log")

    @property
    def failure(self) -> Path:
        """Return the file that says why the last build failed."""
        return self.target.with_name(f"{self.target.name}.failed")

    @property
    def lock(self) -> Path:
        """Return the file that the builder locks; it holds the time at which the build started."""
        return cache_dir() / f"{self.file.program}-build.lock"

    def state(self) -> BuildState:
        """Return how far the build is."""
        if self.target.is_dir():
            return BuildState("built", str(self.program))
        if self.is_running():
            return BuildState("building", self._progress_text())
        if self.failure.exists():
            return BuildState("failed", self.failure.read_text())
        return BuildState("not started", "built by make setup in the background")

    def is_running(self) -> bool:
        """Return whether a process builds now."""
        if not self.lock.exists():
            return False
        with self.lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def running_for_s(self) -> float:
        """Return for how long the running build has been running."""
        try:
            return max(0.0, time.time() - float(self.lock.read_text()))
        except (OSError, ValueError):
            return 0.0  # the builder has the lock and has not written the time yet

    def steps_done(self) -> int:
        """Return how many crates and packages this build compiled so far."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return sum(bool(re.fullmatch(r"(crate )?[\w./-]+", line)) for line in lines)

    def _progress_text(self) -> str:
        percent = min(99, self.steps_done() * 100 // self.file.steps)
        return f"{percent} % built after {self.running_for_s() / 60:.0f} min; see {self.log}"

    def start(self) -> bool:
        """Start the build as a detached process, unless it is done or runs already.

        Returns:
            Whether it was started.

        Raises:
            PrerequisiteMissing: Go, cargo or a C tool is missing; the message says what to install.
        """
        child = self._spawn()
        if child is not None:
            child.returncode = 0  # nobody waits for it; without this, Python warns when it forgets it
        return child is not None

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        if self.target.is_dir() or self.is_running():
            return None
        self.require_tools()
        self.target.parent.mkdir(parents=True, exist_ok=True)
        command = [*_PRIORITY, sys.executable, "-m", "stack.engine.source_build", self.folder]
        with self.log.open("w") as log:
            return subprocess.Popen(
                command, cwd=REPO, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def require_tools(self) -> None:
        """Check the tools of the build.

        Raises:
            PrerequisiteMissing: One is missing or too old; the message says what to install.
        """
        find_go(f"{self.file.package}@v{self.file.version}")
        for tool, package in (("cc", "build-essential"), ("pkg-config", "pkg-config")):
            if shutil.which(tool) is None:
                raise self._missing(f"{tool} is missing", f"apt-get install {package}")
        rust = _rust_version()
        if shutil.which("cargo") is None or rust < OLDEST_RUST:
            seen = "none" if rust == (0, 0) else f"{rust[0]}.{rust[1]}"
            raise self._missing(
                f"expected cargo with Rust {OLDEST_RUST[0]}.{OLDEST_RUST[1]} or later, was {seen}",
                "apt-get install cargo-web rustc-web, or put a newer cargo on PATH; or do without this service",
            )

    def _missing(self, what: str, command: str) -> PrerequisiteMissing:
        safe = "Nothing else needs it: profile core runs without it."
        return PrerequisiteMissing(
            f"{self.file.program} is built from source: {what}.", safe=safe, next_command=command
        )

    def wait(self, progress: LineReporter) -> Path:
        """Return the program; build it, or wait for the process that builds it, if it is not there.

        Args:
            progress: Receives one line whenever the build is a percent further.

        Raises:
            PrerequisiteMissing: A tool of the build is missing.
            ServiceNotReady: The build failed; the message holds the end of its output.
        """
        while not self.target.is_dir():
            child = self._spawn()
            shown = ""
            while self.is_running() or (child is not None and child.poll() is None):
                text = self.state().detail
                if text.partition(";")[0] != shown:
                    shown = text.partition(";")[0]
                    progress(text)
                time.sleep(WATCH_EVERY_S)
            if self.failure.exists() and not self.target.is_dir():
                raise ServiceNotReady(
                    self.failure.read_text(),
                    safe="What was compiled stays in the cache of Go and cargo.",
                    next_command="tickhouse doctor",
                )
        return self.program

    def run(self) -> None:
        """Build in this process; a process that builds already is awaited.

        Raises:
            TickhouseError: The build failed; the reason stays in the file `failure`.
        """
        with self.lock.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if self.target.is_dir():
                return
            file.truncate(0)
            file.write(str(time.time()))
            file.flush()
            self.failure.unlink(missing_ok=True)
            try:
                self._build()
            except TickhouseError as error:
                self.failure.write_text(error.message)
                raise

    def _build(self) -> None:
        go = find_go(f"{self.file.package}@v{self.file.version}")
        work = self.target.with_name(f".{self.target.name}-work")
        work.mkdir(parents=True, exist_ok=True)
        environment = self._environment(go, work)
        self._call([str(go), "install", self.file.pkg_config], environment | {"GOBIN": str(work), "GOFLAGS": ""})
        flags = ["-v", "-mod=readonly", "-p", "2", "-trimpath", "-tags", ",".join(self.file.tags)]
        link = f"-s -w -X main.version=v{self.file.version}"
        result = work / "result"
        result.mkdir(exist_ok=True)
        output = result / self.file.program
        self._call([str(go), "build", *flags, "-ldflags", link, "-o", str(output), self.file.package], environment)
        result.replace(self.target)
        shutil.rmtree(work, ignore_errors=True)

    def _environment(self, go: Path, work: Path) -> dict[str, str]:
        wrapper = Path(shutil.copy(self.path / "rustc.sh", work / "rustc.sh"))
        wrapper.chmod(0o755)
        chosen = {
            "GOPROXY": go_proxies(go),
            "GOFLAGS": "",
            "PKG_CONFIG": str(work / self.file.pkg_config.partition("@")[0].rpartition("/")[2]),
            "RUSTC_WRAPPER": str(wrapper),
            "CARGO_BUILD_JOBS": "2",
            "TICKHOUSE_BUILD_LOG": str(self.log),
        }
        # The sources pin an older Rust than the installed one, and rustup would download it.
        toolchain = _rustup_toolchain()
        return os.environ | chosen | ({"RUSTUP_TOOLCHAIN": toolchain} if toolchain else {})

    def _call(self, command: list[str], environment: dict[str, str]) -> None:
        done = subprocess.run(command, cwd=self.path, env=environment, check=False)
        if done.returncode != 0:
            end = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]) if self.log.exists() else ""
            raise ServiceNotReady(
                f"{' '.join(command[:2])} of {self.file.program} failed with exit code {done.returncode}:\n{end}"
            )


def _rust_version() -> tuple[int, int]:
    """Return the version of rustc on PATH; (0, 0) when there is none."""
    program = shutil.which("rustc")
    output = (
        subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout if program else ""
    )
    version = re.search(r"rustc (\d+)\.(\d+)", output)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def _rustup_toolchain() -> str:
    """Return the toolchain that rustup uses outside the sources; empty without rustup."""
    program = shutil.which("rustup")
    if program is None:
        return ""
    command = [program, "show", "active-toolchain"]
    words = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False).stdout.split()
    return words[0] if words else ""


def program_of(folder: str, progress: LineReporter = ignore_line) -> Path:
    """Return the program of a folder, built by the first call."""
    return SourceBuild(folder).wait(progress)


def start_all() -> None:
    """Start the builds that are not done, and say one line about each."""
    for service in read_catalog(STACK).values():
        for folder in service.fetch.source.values():
            build = SourceBuild(folder)
            sys.stdout.write(f"{build.target}\n")
            try:
                if build.start():
                    sys.stderr.write(f"Building {service.title} in the background; its log: {build.log}\n")
            except PrerequisiteMissing as error:
                sys.stderr.write(f"{service.title} is not built. {error}\n")


def main() -> int:
    """Build the folder that the one argument names, or start all builds; return the exit code."""
    if sys.argv[1:] == [START_ALL]:
        start_all()
        return 0
    with contextlib.suppress(OSError):  # a kernel without such groups
        _AUTOGROUP.write_text(_SESSION_NICE)
    try:
        SourceBuild(sys.argv[1]).run()
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
