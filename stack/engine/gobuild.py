"""Build a server that comes as a Go module, once a machine: it is in the cache under its version.

Only parts outside profile `core` need it, so Go is not among the prerequisites: without it such a part says what to
install, and everything else works.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from stack.engine.fetch import Progress, once
from tickhouse.errors import PrerequisiteMissing, ServiceNotReady
from tickhouse.settings import cache_dir

# From 1.21 on Go fetches the release that a module asks for (MinIO: 1.24) by itself; Debian 12 has 1.19.
LEAST_GO = (1, 21)


def target_of(module: str) -> Path:
    """Return the cache folder of a module `path@version`: its program is the file named like the path's end."""
    path, _, version = module.partition("@")
    return cache_dir() / "go" / f"{path.rpartition('/')[2]}-{version.removeprefix('v')}"


def program(module: str, progress: Progress) -> Path:
    """Return the program of a module `path@version`, built at the first call.

    Raises:
        PrerequisiteMissing: There is no Go, or one too old.
        ServiceNotReady: The build failed; the message holds the end of its output.
    """
    folder = once(target_of(module), lambda partial: _install(module, partial, progress), lock="go")
    return folder / module.partition("@")[0].rpartition("/")[2]


def _install(module: str, folder: Path, progress: Progress) -> None:
    go = find_go(module)
    progress(f"building {module}: minutes, once a machine")
    environment = os.environ | {"GOBIN": str(folder), "GOPROXY": _proxies(go), "GOFLAGS": "-trimpath"}
    # Two jobs: a build of 490 CPU-seconds (MinIO) that leaves room for what else runs.
    command = [str(go), "install", "-p", "2", "-ldflags=-s -w", module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        end = "\n".join(done.stderr.splitlines()[-30:])
        raise ServiceNotReady(
            f"go install {module} ended with {done.returncode}:\n{end}",
            safe="Nothing was put into the cache.",
            next_command="tickhouse doctor",
        )


def find_go(module: str) -> Path:
    """Return the go program.

    Raises:
        PrerequisiteMissing: There is none, or one too old; the message names what is needed for what.
    """
    found = shutil.which("go")
    answer = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout if found else ""
    version = re.search(r"go(\d+)\.(\d+)", answer)
    if found and version and (int(version[1]), int(version[2])) >= LEAST_GO:
        return Path(found)
    seen = f"version {version[1]}.{version[2]}" if version else "none"
    least = f"{LEAST_GO[0]}.{LEAST_GO[1]}"
    raise PrerequisiteMissing(
        f"{module.partition('@')[0]} is built from source: expected Go {least} or later, was {seen}.",
        safe="Nothing else needs Go: profile core runs without.",
        next_command="put a newer Go on PATH (Debian 12's golang is too old), or do without this service",
    )


def _proxies(go: Path) -> str:
    """Return where Go asks for modules: as configured, but never a code host directly."""
    answer = subprocess.run([str(go), "env", "GOPROXY"], capture_output=True, text=True, check=True).stdout.strip()
    return re.sub(r"[,|](direct|off)", "", answer)
