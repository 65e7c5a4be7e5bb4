"""The checker is independent: nothing it imports, directly or not, is of the pipeline."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tickhouse.settings import REPO

OWN = [
    *sorted((REPO / "tickhouse" / "reconcile").glob("*.py")),
    *sorted((REPO / "tickhouse" / "explain").glob("*.py")),
    REPO / "tickhouse" / "candles.py",
]
FORBIDDEN = {"producer", "spark", "dags", "pyspark"}


@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(REPO)))
def test_no_file_names_the_pipeline(path: Path):
    tree = ast.parse(path.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name for name in names if name.split(".")[0] in FORBIDDEN}


def test_no_import_at_run_time_reaches_the_pipeline():
    modules = [str(path.relative_to(REPO)).removesuffix(".py").replace("/", ".") for path in OWN]
    code = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name.removesuffix('.__init__'))\n"
        "import stack.exchange.market\n"
        f"print(sorted(name for name in sys.modules if name.split('.')[0] in {FORBIDDEN!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout.strip() == "[]"
