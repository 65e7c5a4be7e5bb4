"""The JSDoc types of the page's code, checked by TypeScript where node is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from common.errors import TickhouseError
from stack.engine.npm_packages import npm_folder
from tests.integration.page.recorded_api import PAGE

OPTIONS = {
    "strict": True,
    "allowJs": True,
    "checkJs": True,
    "noEmit": True,
    "noUnusedLocals": True,
    "noUnusedParameters": True,
    "noImplicitReturns": True,
    "skipLibCheck": True,  # the chart's own types import a package that is only compiled into it
    "target": "es2022",
    "module": "es2022",
    "moduleResolution": "bundler",
    "lib": ["es2023", "dom", "dom.iterable"],
}


def checked(folder: Path) -> str:
    """Return what TypeScript says about the page's code in a folder."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on PATH: the types of api/page are not checked")
    try:
        compiler, chart = npm_folder("typescript"), npm_folder("lightweight-charts")
    except TickhouseError as error:
        pytest.skip(f"typescript is not in the cache, and was not downloaded: {error}")
    shutil.copy(chart / "dist/typings.d.ts", folder / "lightweight-charts.d.ts")
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "include": ["*.js", "*.d.ts"]}))
    command = [node, str(compiler / "lib/tsc.js"), "-p", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_the_types_fit(tmp_path: Path) -> None:
    shutil.copytree(PAGE / "assets", tmp_path, dirs_exist_ok=True)
    assert checked(tmp_path) == ""


def test_a_wrong_type_is_reported(tmp_path: Path) -> None:
    shutil.copytree(PAGE / "assets", tmp_path, dirs_exist_ok=True)
    module = tmp_path / "bars.js"
    module.write_text(module.read_text().replace("compare(trade.price,", "compare(trade.amount,"))
    assert "Property 'amount' does not exist on type 'TradeEvent'" in checked(tmp_path)
