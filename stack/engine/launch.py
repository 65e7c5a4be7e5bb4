"""Read the argument list and environment of a program from a file, then exec it.

supervisord starts `python launch.py <file.json>`. This way no secret is on a command line or in
supervisord's configuration, and no value must follow supervisord's quoting rules. It uses the
standard library only, because it runs before every start.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Record the process id, then exec the program that the JSON file describes."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    Path(spec["pid_file"]).write_text(str(os.getpid()))  # `down` needs it when supervisord was killed
    os.chdir(spec["cwd"])
    os.umask(0o077)
    os.execve(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
