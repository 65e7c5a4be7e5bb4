"""Become a program: read its argument list and environment from a file, then exec.

Supervisord starts `python launch.py <file.json>`. So no secret is on a command line or in supervisord's own
configuration, and no value needs its quoting rules. Standard library only: it runs before every start.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Record the process id, then turn into the program described by the JSON file in the first argument."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    Path(spec["pid_file"]).write_text(str(os.getpid()))  # lets `down` find it when supervisord itself was killed
    os.chdir(spec["cwd"])
    os.umask(0o077)
    os.execve(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - there is no shell, on purpose


if __name__ == "__main__":
    main()
