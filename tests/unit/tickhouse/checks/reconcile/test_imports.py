"""Importing the checker loads no module of the pipeline, not even indirectly at run time.

Import-linter checks only the import statements.
"""

from __future__ import annotations

import pkgutil
import subprocess
import sys

from common.settings import REPO
from tickhouse.checks import reconcile

FORBIDDEN = {"producer", "spark", "pyspark", "dags"}


def test_no_import_at_run_time_reaches_the_pipeline():
    modules = [found.name for found in pkgutil.walk_packages(reconcile.__path__, f"{reconcile.__name__}.")]
    assert len(modules) > 20
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "import standins.exchange.synthetic_market\n"
        f"print(sorted(name for name in sys.modules if name.split('.')[0] in {FORBIDDEN!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout.strip() == "[]"
