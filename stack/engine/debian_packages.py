"""Unpack Debian packages into the cache, without installing them and without root.

A file in the repository pins each package: version and SHA-256. `apt-get download` takes them from
the machine's own mirror and checks Debian's signature, then we check the pins.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from common.errors import PrerequisiteMissing, ServiceNotReady
from common.settings import cache_dir
from stack.engine.cache import cached_folder
from stack.engine.progress import LineReporter, ignore_line

NOTHING_ELSE = "Nothing else needs these packages: profile core runs without them."


class _Pinned(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Package(_Pinned):
    """One package."""

    version: str
    sha256: str


class PackageSet(_Pinned):
    """The content of a file of pins.

    Args:
        architecture: Debian's name of the processor that the hashes are for.
        server: The package that names the cache folder.
        packages: By name.
        moved: File in the packages to the absolute path in it that must lead into the cache.
        relative: Program to the one folder that it can find only by its absolute path. The path is
            made relative in the program, byte for byte as long, so the program must be started in
            the folder of the packages.
    """

    architecture: str
    server: str
    packages: dict[str, Package]
    moved: dict[str, str] = {}
    relative: dict[str, str] = {}


def read(path: Path) -> PackageSet:
    """Return the pins of a file."""
    return PackageSet.model_validate(yaml.safe_load(path.read_text()))


def package_folder(path: Path) -> Path:
    """Return the cache folder of a file of pins; its name has the server's version."""
    pins = read(path)
    key = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return cache_dir() / "debian" / f"{pins.server}-{pins.packages[pins.server].version}-{key}"


def unpacked_packages(path: Path, progress: LineReporter = ignore_line) -> Path:
    """Return the folder with the unpacked packages, downloaded by the first call.

    Args:
        path: A file of pins.
        progress: Receives one line per package.

    Raises:
        PrerequisiteMissing: This machine has no apt-get, is of another architecture, or its
            package lists lack a pinned version.
        ServiceNotReady: A package is not the one that is pinned, or does not unpack.
    """
    target = package_folder(path)
    pins = read(path)
    return cached_folder(target, lambda folder: _fill(folder, target, pins, progress), lock="debian")


def _fill(folder: Path, target: Path, pins: PackageSet, progress: LineReporter) -> None:
    _require_apt(pins)
    with tempfile.TemporaryDirectory(dir=folder.parent) as download:
        _download(Path(download), pins)
        for name, package in pins.packages.items():
            (file,) = Path(download).glob(f"{name}_*.deb")
            _verify(file, package)
            progress(f"unpacking {file.name}")
            _run(["dpkg-deb", "--extract", str(file), str(folder)], f"{file.name} does not unpack")
    for name, absolute in pins.moved.items():
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(f"={absolute}\n", f"={target}{absolute}\n"))
    for name, absolute in pins.relative.items():
        (folder / name).write_bytes(with_relative_path((folder / name).read_bytes(), absolute))


def with_relative_path(program: bytes, absolute: str) -> bytes:
    """Return a program that looks for one folder below the folder that it is started in.

    Args:
        program: The bytes of the program.
        absolute: The folder; longer paths that begin with it stay as they are.

    Raises:
        ServiceNotReady: The program does not contain the path exactly once.
    """
    pattern = re.compile(re.escape(absolute.encode()) + rb"(?!/)")
    changed, count = pattern.subn(absolute.removeprefix("/").encode() + b"/", program)
    if count != 1:
        raise ServiceNotReady(f"Expected {absolute} once in the program, was {count} times.")
    return changed


def _require_apt(pins: PackageSet) -> None:
    missing = [program for program in ("apt-get", "dpkg-deb") if shutil.which(program) is None]
    if missing:
        raise PrerequisiteMissing(
            f"{pins.server} comes as Debian packages, and this machine has no {missing[0]}.",
            safe=NOTHING_ELSE,
            next_command="use Debian 12, or Docker Compose, or the address of a server of your own",
        )
    found = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    if found != pins.architecture:
        raise PrerequisiteMissing(
            f"The packages of {pins.server} are pinned for {pins.architecture}; this machine is {found}.",
            safe=NOTHING_ELSE,
            next_command="use Docker Compose, or the address of a server of your own",
        )


def _download(folder: Path, pins: PackageSet) -> None:
    wanted = [f"{name}={package.version}" for name, package in pins.packages.items()]
    # apt-get, when it is root, would download as user `_apt`, who may not enter our cache.
    as_root = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    command = ["apt-get", "download", "-q", *as_root, *wanted]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PrerequisiteMissing(
            f"apt-get does not have the pinned packages of {pins.server}: {_end(done.stderr)}",
            safe=NOTHING_ELSE,
            next_command="apt-get update, then try again; or use Docker Compose",
        )


def _verify(file: Path, package: Package) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != package.sha256:
        raise ServiceNotReady(
            f"{file.name}: expected SHA-256 {package.sha256}, was {found}.",
            safe="Nothing was put into the cache.",
            next_command="tickhouse doctor",
        )


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceNotReady(f"{what}: {_end(done.stderr)}", next_command="tickhouse doctor")


def _end(output: str) -> str:
    return " ".join(output.split())[-600:]
