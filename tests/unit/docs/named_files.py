"""Find the paths and modules that a piece of documentation names and that do not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from common.settings import REPO

FOLDERS = [path.name for path in sorted(REPO.iterdir()) if path.is_dir() and not path.name.startswith(".")]
PACKAGES = [name for name in FOLDERS if (REPO / name / "__init__.py").is_file()]
JAVA = REPO / "connectors" / "plugins" / "src" / "main" / "java"

_TOP = "|".join(map(re.escape, FOLDERS))
# A path below a folder of the repository. `<name>`, `…` and `*` stand for any text.
_PATH = re.compile(rf"(?<![\w./:@$}}<>-])(?:{_TOP})/[\w./<>*…-]*")
_FILE = re.compile(r"(?<![\w./*<>-])\w+\.py\b(?!/)")
_MODULE = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?![\w/(])")
# Spark's settings and data files begin like our packages.
_NO_MODULE = re.compile(r"spark\.(?:sql|executor|driver)\..*|\w+\.(?:json|ya?ml|jsonl|toml|conf)")


def missing_names(piece: str) -> Iterator[str]:
    """Yield every path, Python file and module in a text that the repository does not have."""
    yield from (path for path in _PATH.findall(piece) if not path_exists(path))
    yield from (name for name in _FILE.findall(piece) if name not in python_files())
    modules = (name for name in _MODULE.findall(piece) if not _NO_MODULE.fullmatch(name))
    yield from (name for name in modules if not module_exists(name))


def path_exists(name: str) -> bool:
    """Tell whether a path, in which placeholders stand for any text, is in the repository."""
    pattern = re.sub(r"<[^>]*>|…|\*+", "*", name).rstrip("./")
    return any(True for _ in REPO.glob(pattern))


def module_exists(name: str) -> bool:
    """Tell whether a dotted name is a module, something that a module defines, or a Java class."""
    path = Path(*name.split("."))
    if (JAVA / path).is_dir() or (JAVA / path).with_suffix(".java").is_file():
        return True
    if (REPO / path).is_dir() or (REPO / path).with_suffix(".py").is_file():
        return True
    defined = re.compile(rf"^\s*(?:(?:async )?def|class) {path.name}\b|^\s*{path.name}\b\s*[:=]", re.MULTILINE)
    return any(defined.search(text) for text in _texts(REPO / path.parent))


def _texts(module: Path) -> Iterator[str]:
    sources = (module.with_suffix(".py"), module / "__init__.py")
    return (source.read_text(encoding="utf-8") for source in sources if source.is_file())


@cache
def python_files() -> frozenset[str]:
    """Return the names of the Python files in the folders of the repository."""
    return frozenset(path.name for folder in FOLDERS for path in (REPO / folder).rglob("*.py"))
