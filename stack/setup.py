"""Make a clone ready: Python environment from the lock file, then every server's files into the cache.

Run by `make setup` with the system's Python; standard library only, because it makes the environment that has the
rest. A stamp in `.venv` holds what it was made from: while that is unchanged nothing is done.
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

# Resolves and installs the lock file; pinned, because `pip sync --require-hashes` is its command line.
UV = "uv==0.13.9"

# What Debian keeps the certificates of private authorities in; uv brings its own list and would not see them.
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

JAVA_MAJOR = 17
EXIT_PREREQUISITE_MISSING = 3  # tickhouse.errors.PrerequisiteMissing.exit_code


def main() -> int:
    """Bring the clone up to date and return the exit code."""
    packages = missing_packages()
    if packages:
        say(f"Missing: {', '.join(packages.values())}.\nNext: apt-get install {' '.join(packages)}")
        return EXIT_PREREQUISITE_MISSING
    if is_current():
        return 0
    try:
        make_environment()
        folders = fetch_servers()
    except subprocess.CalledProcessError as error:
        say(f"{' '.join(map(str, error.cmd[:6]))} ended with {error.returncode}; its own message is above.")
        say("Safe: what was fetched stays, the next run goes on from there.\nNext: make setup")
        return 1
    STAMP.write_text(json.dumps({"made_from": made_from(), "folders": folders}))
    say("Ready. Next: make up")
    return 0


def missing_packages() -> dict[str, str]:
    """Return what is missing: Debian package to what it brings."""
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
    """Return the major version of the java on PATH; 0 when there is none."""
    java = shutil.which("java")
    if java is None:
        return 0
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', answer)
    return int(version.group(1)) if version else 0


def is_current() -> bool:
    """Return whether the environment and the cache are what the files of the clone ask for."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp["made_from"] == made_from()) and all(Path(folder).is_dir() for folder in stamp["folders"])


def made_from() -> str:
    """Return a hash of everything that decides what setup makes."""
    files = [LOCK, REPO / "pyproject.toml", Path(__file__), *REPO.glob("stack/*/service.yaml")]
    files += [*REPO.glob("stack/*/pom.xml"), *REPO.glob("stack/*/plugins/*/pom.xml"), *REPO.glob("spark/*/pom.xml")]
    files += [*REPO.glob("stack/*/*.java"), *REPO.glob("stack/*/rest-root/*"), REPO / "connectors/plugins/pom.xml"]
    files += [path for path in REPO.glob("connectors/plugins/src/main/**/*") if path.is_file()]
    text = b"\0".join(str(path.relative_to(REPO)).encode() + path.read_bytes() for path in sorted(files))
    return hashlib.sha256(text + f"{sys.version_info[:2]} {REPO} {UV}".encode()).hexdigest()


def make_environment() -> None:
    """Make `.venv` hold exactly what the lock file says, and this clone as an editable install."""
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
    """Fetch every jar and archive into the cache with the new environment's own code; return the cache folders."""
    say("Fetching servers and jars into the cache")
    command = [str(VENV / "bin" / "python"), "-m", "stack.engine.prefetch"]
    done = subprocess.run(command, cwd=REPO, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return list(done.stdout.splitlines())


def run(command: list[str | Path]) -> None:
    """Run one command, its output shown; raise CalledProcessError when it fails."""
    subprocess.run(command, cwd=REPO, env=environment(), check=True)


def environment() -> dict[str, str]:
    """Return the environment for what is run: this `.venv`, and the system's certificates unless others are set."""
    chosen = {**os.environ, "VIRTUAL_ENV": str(VENV)}
    chosen.pop("PYTHONHOME", None)
    if "SSL_CERT_FILE" not in chosen and SYSTEM_CERTIFICATES.exists():
        chosen["SSL_CERT_FILE"] = str(SYSTEM_CERTIFICATES)
    return chosen


def say(line: str) -> None:
    """Tell the user, on standard error."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
