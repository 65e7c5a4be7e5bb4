"""Write the CLI reference page to standard output."""

from __future__ import annotations

import sys

from tickhouse.cli import app
from tickhouse.cli.reference import render

sys.stdout.write(render(app))
