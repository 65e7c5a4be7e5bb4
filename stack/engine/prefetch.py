"""Fetch what all services and Spark need, before anything is started: `python -m stack.engine.prefetch`.

Standard output: one cache folder a line, for `stack/setup.py` to record. Progress goes to standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stack.engine.fetch import fetch, jar_dir
from stack.engine.gobuild import target_of
from stack.engine.lifecycle import catalog
from stack.engine.model import Fetch
from tickhouse.errors import TickhouseError
from tickhouse.settings import REPO, cache_dir

# Jars of parts that are not services: they ask for them with `jar_dir`.
OTHER_POMS = (REPO / "spark" / "jars" / "pom.xml", REPO / "spark" / "s3a" / "pom.xml")


class _Progress:
    """One line a thing, counting the files that Maven brings; redrawn in place on a terminal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._files = 0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, line: str) -> None:
        """Take one line of Maven's."""
        if line.startswith(("Downloaded from", "[INFO] Downloaded from")):
            self._files += 1
            if self._is_terminal:
                sys.stderr.write(f"\r  {self._name}: {self._files} files")

    def end(self) -> None:
        """Write the closing line."""
        start = "\r" if self._is_terminal else ""
        sys.stderr.write(f"{start}  {self._name}: {f'{self._files} files fetched' if self._files else 'there'}\n")


def main() -> int:
    """Fetch everything and return the exit code."""
    folders: set[Path] = set()
    try:
        for service in catalog().values():
            # A Go build takes minutes, and a Go that nothing else needs: its service does it at its first start.
            if service.fetch == Fetch() or not all(target_of(one).is_dir() for one in service.fetch.go.values()):
                continue
            progress = _Progress(service.name)
            folders |= set(fetch(service, progress).values())
            progress.end()
        for pom in OTHER_POMS:
            progress = _Progress(str(pom.parent.relative_to(REPO)))
            folders.add(jar_dir(pom, progress))
            progress.end()
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.writelines(f"{folder}\n" for folder in sorted(folders) if folder.is_relative_to(cache_dir()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
