"""Download a package of the npm registry into the cache: `stack/npm.yaml` has version and hash.

    python -m stack.engine.npm_packages lightweight-charts

Node is no prerequisite. The archive is downloaded by Python, its hash is compared with the pinned
one, and no script of the package runs. The registry is the one that npm is configured with.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import httpx
import yaml

from common.errors import PrerequisiteMissing, ServiceNotReady
from common.settings import cache_dir
from stack.engine.cache import cached_folder
from stack.engine.model import STACK

PACKAGES_FILE = STACK / "npm.yaml"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class NpmPackage:
    """One entry of `stack/npm.yaml`.

    Attributes:
        integrity: `sha512-<base64>` of the archive, as npm prints it.
    """

    name: str
    version: str
    integrity: str

    @property
    def folder(self) -> Path:
        """The cache folder of the unpacked package; it exists once the package was fetched."""
        return cache_dir() / "npm" / f"{self.name.replace('/', '+')}-{self.version}"


def npm_packages() -> dict[str, NpmPackage]:
    """Return every package of `stack/npm.yaml` by name."""
    declared = yaml.safe_load(PACKAGES_FILE.read_text())
    return {name: NpmPackage(name=name, **entry) for name, entry in declared.items()}


def npm_folder(name: str) -> Path:
    """Return the cache folder of a package; the first call downloads it.

    Raises:
        PrerequisiteMissing: No registry is configured.
        ServiceNotReady: The registry does not answer, or gave another archive than the pinned one.
    """
    package = npm_packages()[name]
    return cached_folder(package.folder, lambda folder: _download(package, folder), lock="npm")


def _download(package: NpmPackage, folder: Path) -> None:
    file_name = f"{package.name.rpartition('/')[2]}-{package.version}.tgz"
    address = f"{registry()}/{package.name}/-/{file_name}"
    try:
        # The system's certificates, including those of private authorities.
        response = httpx.get(
            address, timeout=TIMEOUT_S, follow_redirects=True, verify=ssl.create_default_context()
        ).raise_for_status()
    except httpx.HTTPError as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise _failed(package, f"the npm registry did not answer: {reason}") from error
    unpack(package, response.content, folder)


def unpack(package: NpmPackage, archive: bytes, folder: Path) -> None:
    """Unpack an archive without its first folder, which is `package/` by convention.

    Raises:
        ServiceNotReady: The archive is not the pinned one.
    """
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if integrity != package.integrity:
        raise _failed(package, f"expected the integrity {package.integrity}, was {integrity}")
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        for member in members:
            member.name = str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))
        tar.extractall(folder, members=members, filter="data")


def registry() -> str:
    """Return the address of the npm registry, from npm's own configuration.

    Raises:
        PrerequisiteMissing: Neither npm nor `NPM_CONFIG_REGISTRY` says which registry to use.
    """
    configured = os.environ.get("NPM_CONFIG_REGISTRY") or os.environ.get("npm_config_registry")  # noqa: SIM112
    npm = shutil.which("npm")
    if not configured and npm:
        command = [npm, "config", "get", "registry"]
        configured = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False).stdout.strip()
    if not configured:
        raise PrerequisiteMissing(
            "No npm registry is configured, so the chart of the live page cannot be downloaded.",
            safe="Everything else works; the page shows its figures without the chart.",
            next_command="apt-get install npm, or set NPM_CONFIG_REGISTRY; then make setup",
        )
    return configured.rstrip("/")


def _failed(package: NpmPackage, reason: str) -> ServiceNotReady:
    return ServiceNotReady(
        f"{package.name} {package.version} was not downloaded: {reason}.",
        safe="Nothing was put into the cache.",
        next_command="make setup",
    )


if __name__ == "__main__":
    sys.stdout.write(f"{npm_folder(sys.argv[1])}\n")
