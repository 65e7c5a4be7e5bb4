"""Build a server that is published as a Go module, once per machine, into the cache.

Only services outside profile `core` need Go, so it is not a prerequisite. Without Go such a service
reports what to install, and everything else works. Modules that `go install` refuses are built by
`source_build`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import deque
from pathlib import Path

from common.errors import PrerequisiteMissing, ServiceNotReady
from common.settings import cache_dir
from stack.engine.cache import cached_folder
from stack.engine.progress import LineReporter

# From 1.21 on, Go itself downloads the release that a module needs (MinIO: 1.24). Debian 12 ships
# 1.19.
OLDEST_GO = (1, 21)


def module_folder(module: str) -> Path:
    """Return the cache folder of a Go module `path@version`."""
    path, _, version = module.partition("@")
    return cache_dir() / "go" / f"{path.rpartition('/')[2]}-{version.removeprefix('v')}"


def go_program(module: str, progress: LineReporter) -> Path:
    """Return the program of a module `path@version`, built by the first call.

    The program is named like the last part of the path.

    Raises:
        PrerequisiteMissing: Go is missing or too old.
        ServiceNotReady: The build failed; the message holds the end of its output.
    """
    folder = cached_folder(module_folder(module), lambda partial: _install(module, partial, progress), lock="go")
    return folder / module.partition("@")[0].rpartition("/")[2]


def _install(module: str, folder: Path, progress: LineReporter) -> None:
    go = find_go(module)
    progress(f"building {module}: takes minutes, once per machine")
    environment = os.environ | {"GOBIN": str(folder), "GOPROXY": go_proxies(go), "GOFLAGS": "-trimpath"}
    # Two jobs: MinIO takes 490 CPU seconds to build, and other programs need CPU meanwhile.
    command = [str(go), "install", "-v", "-p", "2", "-ldflags=-s -w", module]
    began, end = time.monotonic(), deque[str](maxlen=30)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as build:
        for number, line in enumerate(build.stderr or (), start=1):  # -v: one line per package
            end.append(line)
            progress(f"building {module}: {number} packages in {(time.monotonic() - began) / 60:.1f} min")
    if build.returncode != 0:
        raise ServiceNotReady(
            f"go install {module} failed with exit code {build.returncode}:\n{''.join(end)}",
            safe="Nothing was put into the cache.",
            next_command="tickhouse doctor",
        )


def find_go(module: str) -> Path:
    """Return the go program.

    Raises:
        PrerequisiteMissing: Go is missing or too old; the message names the module that needs it.
    """
    program = shutil.which("go")
    output = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout if program else ""
    version = re.search(r"go(\d+)\.(\d+)", output)
    if program and version and (int(version[1]), int(version[2])) >= OLDEST_GO:
        return Path(program)
    installed = f"version {version[1]}.{version[2]}" if version else "none"
    oldest = f"{OLDEST_GO[0]}.{OLDEST_GO[1]}"
    raise PrerequisiteMissing(
        f"{module.partition('@')[0]} is built from source: expected Go {oldest} or later, was {installed}.",
        safe="Nothing else needs Go: profile core runs without it.",
        next_command="put a newer Go on PATH (the golang package of Debian 12 is too old), or do without this service",
    )


def go_proxies(go: Path) -> str:
    """Return the configured module proxies without `direct`, so that no code host is contacted."""
    configured = subprocess.run([str(go), "env", "GOPROXY"], capture_output=True, text=True, check=True).stdout
    return re.sub(r"[,|](direct|off)", "", configured.strip())
