"""Fetch everything that the services and Spark need: `python -m stack.engine.prefetch`.

It prints one cache folder per line to standard output, for `stack/setup.py` to record, and its
progress to standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from common.errors import TickhouseError
from common.settings import REPO, cache_dir
from stack.engine.debian_packages import package_folder
from stack.engine.fetch import fetch, jar_dir
from stack.engine.lifecycle import catalog
from stack.engine.model import Fetch, Service
from stack.engine.npm_packages import npm_folder, npm_packages

# Poms of parts that are not services; these call `jar_dir` themselves.
OTHER_POMS = (REPO / "spark" / "jars" / "pom.xml", REPO / "spark" / "s3a" / "pom.xml")


class _ProgressLine:
    """One line per service with the number of downloaded files; redrawn in place on a terminal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._files = 0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, line: str) -> None:
        """Read one line of Maven's output."""
        if line.startswith(("Downloaded from", "[INFO] Downloaded from")):
            self._files += 1
            if self._is_terminal:
                sys.stderr.write(f"\r  {self._name}: {self._files} files")

    def end(self) -> None:
        """Write the closing line."""
        start = "\r" if self._is_terminal else ""
        result = f"{self._files} files fetched" if self._files else "already there"
        sys.stderr.write(f"{start}  {self._name}: {result}\n")


def main() -> int:
    """Fetch everything and return the exit code."""
    folders: set[Path] = set()
    try:
        for service in catalog().values():
            if service.fetch == Fetch() or _is_built(service) or _needs_packages(service):
                continue
            progress = _ProgressLine(service.name)
            folders |= set(fetch(service, progress).values())
            progress.end()
        for pom in OTHER_POMS:
            progress = _ProgressLine(str(pom.parent.relative_to(REPO)))
            folders.add(jar_dir(pom, progress))
            progress.end()
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    folders.add(_chart_library())
    sys.stdout.writelines(f"{folder}\n" for folder in sorted(folders) if folder.is_relative_to(cache_dir()))
    return 0


def _chart_library() -> Path:
    """Fetch the chart of the live page, and return its folder.

    Without it the page says why, and all else works. The folder is recorded all the same, so that
    the next `make setup` tries again.
    """
    try:
        return npm_folder("lightweight-charts")
    except TickhouseError as error:
        sys.stderr.write(f"  live page: {error}\n")
        return npm_packages()["lightweight-charts"].folder


def _is_built(service: Service) -> bool:
    """Return whether the service is built from source.

    That takes minutes and needs Go. It happens in the background (`source_build`), or at the
    service's first start (`go_build`).
    """
    return bool(service.fetch.go or service.fetch.source)


def _needs_packages(service: Service) -> bool:
    """Return whether Debian packages must still be unpacked; only some machines can."""
    return not all(package_folder(REPO / pins).is_dir() for pins in service.fetch.debian.values())


if __name__ == "__main__":
    sys.exit(main())
