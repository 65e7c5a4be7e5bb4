"""The Maven module of the Connect plugins: its JUnit tests, and a build without leftovers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stack.connect.setup import MODULE, module_dir, plugin_folder

pytestmark = pytest.mark.integration


def test_junit_passes(tmp_path: Path) -> None:
    work = tmp_path / "plugins"
    shutil.copytree(MODULE, work)

    done = subprocess.run(["mvn", "-B", "-q", "test"], cwd=work, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-4000:]
    reports = [path.read_text() for path in (work / "target" / "surefire-reports").glob("*.xml")]
    counts = [int(re.findall(r'<testsuite [^>]*\btests="(\d+)"', text)[0]) for text in reports]
    assert len(reports) == len(list((MODULE / "src" / "test").rglob("*Test.java")))
    assert sum(counts) > 20


def test_the_plugin_path_names_every_plugin_of_ours() -> None:
    folder = plugin_folder(lambda _: None)
    jars = [path.name for path in module_dir(lambda _: None).glob("*.jar")]

    assert {path.name for path in folder.iterdir()} == {"apicurio-avro", "tickhouse"}
    assert {path.name for path in (folder / "tickhouse").glob("*.jar")} >= set(jars)
    # Jars that the worker already has would conflict.
    assert [name for name in jars if name.startswith(("kafka-clients", "connect-api", "slf4j-api"))] == []
    assert not (MODULE / "target").exists()
