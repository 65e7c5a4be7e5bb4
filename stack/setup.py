"""Prepare a clone: install the Python environment of the lock file and fetch the servers' files.

`make setup` runs this with the system's Python. It uses the standard library only, because it makes
the environment that has everything else. A stamp in `.venv` records a hash of the inputs; while
they are unchanged, nothing is done.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
VENV = REPO / ".venv"
STAMP = VENV / ".tickhouse-setup.json"
LOCK = REPO / "requirements.txt"

# uv installs the lock file. It is pinned, because we depend on its command line
# (`pip sync --require-hashes`).
UV = "uv==0.13.9"

# Debian's certificates, including those of private authorities. uv has its own list and would not
# use them.
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

JAVA_MAJOR = 17
EXIT_PREREQUISITE_MISSING = 3  # common.errors.PrerequisiteMissing.exit_code


def main() -> int:
    """Prepare the clone and return the exit code."""
    packages = missing_packages()
    if packages:
        say(f"Missing: {', '.join(packages.values())}.\nNext: apt-get install {' '.join(packages)}")
        return EXIT_PREREQUISITE_MISSING
    if is_current():
        if not are_built():
            start_builds()
        return 0
    try:
        make_environment()
        folders = fetch_servers()
        builds = start_builds()
    except subprocess.CalledProcessError as error:
        say(f"{' '.join(map(str, error.cmd[:6]))} failed with exit code {error.returncode}; see its message above.")
        say("Safe: fetched files stay in the cache, and the next run continues from there.\nNext: make setup")
        return 1
    STAMP.write_text(json.dumps({"made_from": made_from(), "folders": folders, "builds": builds}))
    say("Ready. Next: make up")
    return 0


def missing_packages() -> dict[str, str]:
    """Return the missing Debian packages, each with what it provides."""
    missing = {}
    if sys.version_info[:2] != (3, 11):
        missing["python3.11 python3.11-venv"] = f"Python 3.11 (this is {sys.version_info[0]}.{sys.version_info[1]})"
    elif importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        missing["python3-venv"] = "Python's venv module"
    if java_major() < JAVA_MAJOR:
        missing["openjdk-17-jdk-headless"] = f"Java {JAVA_MAJOR} or later"
    if shutil.which("mvn") is None:
        missing["maven"] = "Maven"
    if shutil.which("cc") is None or shutil.which("make") is None:
        missing["build-essential"] = "a C compiler and make"
    return missing


def java_major() -> int:
    """Return the major version of Java on PATH; 0 when there is none."""
    java = shutil.which("java")
    if java is None:
        return 0
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', output)
    return int(version.group(1)) if version else 0


def is_current() -> bool:
    """Return whether the environment and the cache match the files of the clone."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp["made_from"] == made_from()) and all(Path(folder).is_dir() for folder in stamp["folders"])


def made_from() -> str:
    """Return a hash of all inputs of the setup."""
    files = [LOCK, REPO / "pyproject.toml", Path(__file__), *REPO.glob("stack/*/service.yaml")]
    files += [*REPO.glob("stack/*/pom.xml"), *REPO.glob("stack/*/plugins/*/pom.xml"), *REPO.glob("spark/*/pom.xml")]
    files += [*REPO.glob("stack/*/build/*"), *REPO.glob("stack/*/*.java"), *REPO.glob("stack/*/rest-root/*")]
    files += [REPO / "connectors/plugins/pom.xml", REPO / "stack/npm.yaml"]
    files += [path for path in REPO.glob("connectors/plugins/src/main/**/*") if path.is_file()]
    text = b"\0".join(str(path.relative_to(REPO)).encode() + path.read_bytes() for path in sorted(files))
    return hashlib.sha256(text + f"{sys.version_info[:2]} {REPO} {UV}".encode()).hexdigest()


def make_environment() -> None:
    """Install exactly the packages of the lock file, and this clone as an editable package."""
    if not (VENV / "bin" / "python").exists():
        say("Making .venv")
        run([sys.executable, "-m", "venv", VENV])
    if uv_version() != UV.partition("==")[2]:
        say(f"Installing {UV}")
        run([VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV])
    uv = VENV / "bin" / "uv"
    say("Installing the packages of requirements.txt")
    run([uv, "pip", "sync", "--require-hashes", LOCK])
    run([uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", REPO])


def uv_version() -> str:
    """Return the version of uv in `.venv`; empty when there is none."""
    uv = VENV / "bin" / "uv"
    if not uv.exists():
        return ""
    words = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False).stdout.split()
    return words[1] if len(words) > 1 else ""


def fetch_servers() -> list[str]:
    """Fetch every jar and archive with the new environment; return the cache folders."""
    say("Fetching servers and jars into the cache")
    command = [str(VENV / "bin" / "python"), "-m", "stack.engine.prefetch"]
    done = subprocess.run(command, cwd=REPO, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return list(done.stdout.splitlines())


def are_built() -> bool:
    """Return whether the programs that are built from source are in the cache."""
    builds = json.loads(STAMP.read_text()).get("builds", [])
    return all(Path(folder).is_dir() for folder in builds)


def start_builds() -> list[str]:
    """Start what takes long to build as processes of their own; return their cache folders.

    Nothing waits for them. A build that was interrupted is continued.
    """
    command = [str(VENV / "bin" / "python"), "-m", "stack.engine.source_build", "--start-all"]
    done = subprocess.run(command, cwd=REPO, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return list(done.stdout.splitlines())


def run(command: list[str | Path]) -> None:
    """Run a command and show its output.

    Raises:
        CalledProcessError: It failed.
    """
    subprocess.run(command, cwd=REPO, env=environment(), check=True)


def environment() -> dict[str, str]:
    """Return the environment of the commands: this `.venv` and the system's certificates."""
    chosen = {**os.environ, "VIRTUAL_ENV": str(VENV)}
    chosen.pop("PYTHONHOME", None)
    if "SSL_CERT_FILE" not in chosen and SYSTEM_CERTIFICATES.exists():
        chosen["SSL_CERT_FILE"] = str(SYSTEM_CERTIFICATES)
    return chosen


def say(line: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
