"""Fetch jars for an image: `python -m compose.jars spark`, `mapreduce` or `connect FOLDER`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigurationError, TickhouseError
from common.settings import REPO
from stack.connect.setup import plugin_folder
from stack.engine.fetch import jar_dir

POMS = {
    "spark": REPO / "spark" / "jars" / "pom.xml",
    # Contains Hadoop Streaming, which `mapreduce/` runs in a JVM of its own.
    "mapreduce": REPO / "stack" / "hdfs" / "pom.xml",
}


def main(arguments: Sequence[str]) -> int:
    """Fetch the jars and return the exit code."""
    try:
        fetch(arguments)
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def fetch(arguments: Sequence[str]) -> None:
    """Fetch the jars of Spark or MapReduce into the cache, or make Connect's plugin folder.

    Raises:
        ConfigurationError: The arguments are none of these.
        PrerequisiteMissing: Maven or Java is not installed.
        ServiceNotReady: A download failed.
    """
    match arguments:
        case [name] if name in POMS:
            jar_dir(POMS[name], _report)
        case ["connect", target]:
            shutil.copytree(plugin_folder(_report), Path(target))
        case _:
            raise ConfigurationError(f"Expected `spark`, `mapreduce` or `connect FOLDER`, was {' '.join(arguments)!r}.")


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
