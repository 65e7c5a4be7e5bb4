"""Check that every schema and its earlier versions can read each other's data.

This is the compatibility FULL_TRANSITIVE.

The rules are those of https://avro.apache.org/docs/1.12.0/specification/#schema-resolution and one
of our own: a logical type is part of the type, because a decimal with another scale is another
number.

Run `python -m schemas.compat` (CI does). Exit code 0: all versions are compatible; 4: one is not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import PrerequisiteMissing
from schemas.loading import FOLDER, Schema, schema_names

# Types that a reader may read besides its own type.
PROMOTIONS = {"long": {"int"}, "float": {"int", "long"}, "double": {"int", "long", "float"}, "string": {"bytes"},
              "bytes": {"string"}}  # fmt: skip
LOGICAL_KEYS = ("logicalType", "precision", "scale")


def full_problems(newer: Schema, older: Schema) -> list[str]:
    """Return why two versions cannot read each other's data; empty when they can."""
    problems = [f"newer reading older: {text}" for text in read_problems(newer, older)]
    return problems + [f"older reading newer: {text}" for text in read_problems(older, newer)]


def read_problems(reader: Schema, writer: Schema, path: str = "$") -> list[str]:
    """Return why data of `writer` cannot be read as `reader`; empty when it can."""
    if isinstance(writer, list):
        return [text for branch in writer for text in read_problems(reader, branch, path)]
    if isinstance(reader, list):
        return _union_problems(reader, writer, path)
    if _kind(reader) != _kind(writer):
        return _promotion_problems(reader, writer, path)
    checks = {"record": _record_problems, "enum": _enum_problems, "array": _items_problems, "map": _items_problems}
    structural = checks.get(_kind(reader))
    if structural is not None and isinstance(reader, dict) and isinstance(writer, dict):
        return structural(reader, writer, path)
    return _attribute_problems(reader, writer, path)


def _kind(schema: Schema) -> str:
    if isinstance(schema, dict):
        inner = schema["type"]
        return inner if isinstance(inner, str) else _kind(inner)
    return str(schema)


def _attributes(schema: Schema) -> dict[str, Any]:
    keys = (*LOGICAL_KEYS, "size")
    return {key: schema[key] for key in keys if key in schema} if isinstance(schema, dict) else {}


def _attribute_problems(reader: Schema, writer: Schema, path: str) -> list[str]:
    wanted, given = _attributes(reader), _attributes(writer)
    return [] if wanted == given else [f"{path}: expected {wanted or 'no logical type'}, was {given or 'none'}"]


def _promotion_problems(reader: Schema, writer: Schema, path: str) -> list[str]:
    if _kind(writer) in PROMOTIONS.get(_kind(reader), set()) and not _attributes(reader) and not _attributes(writer):
        return []
    return [f"{path}: expected {_kind(reader)}, was {_kind(writer)}"]


def _union_problems(reader: list[Any], writer: Schema, path: str) -> list[str]:
    if any(not read_problems(branch, writer, path) for branch in reader):
        return []
    return [f"{path}: no branch of {[_kind(branch) for branch in reader]} reads {_kind(writer)}"]


def _full_name(schema: dict[str, Any]) -> str:
    return ".".join(part for part in (schema.get("namespace"), schema["name"]) if part)


def _record_problems(reader: dict[str, Any], writer: dict[str, Any], path: str) -> list[str]:
    if _full_name(reader) != _full_name(writer):
        return [f"{path}: expected record {_full_name(reader)}, was {_full_name(writer)}"]
    written = {item["name"]: item for item in writer["fields"]}
    problems: list[str] = []
    for item in reader["fields"]:
        field_path = f"{path}.{item['name']}"
        names = (item["name"], *item.get("aliases", []))
        match = next((written[name] for name in names if name in written), None)
        if match is not None:
            problems += read_problems(item["type"], match["type"], field_path)
        elif "default" not in item:
            problems.append(f"{field_path}: not in the writer's schema and without a default")
    return problems


def _enum_problems(reader: dict[str, Any], writer: dict[str, Any], path: str) -> list[str]:
    unknown = sorted(set(writer["symbols"]) - set(reader["symbols"]))
    return [f"{path}: symbols {unknown} unknown to the reader"] if unknown and "default" not in reader else []


def _items_problems(reader: dict[str, Any], writer: dict[str, Any], path: str) -> list[str]:
    key = "items" if _kind(reader) == "array" else "values"
    return read_problems(reader[key], writer[key], f"{path}[]")


def _git(*arguments: str, folder: Path) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or error
        raise PrerequisiteMissing(f"The history of the schemas needs git and a clone: {detail}") from error
    return done.stdout


def history(path: Path) -> Iterator[tuple[str, Schema]]:
    """Yield (commit, schema) of every committed version of one schema file, newest first.

    Raises:
        PrerequisiteMissing: There is no git, or the file is not in a clone.
    """
    for commit in _git("log", "--format=%H", "--", path.name, folder=path.parent).split():
        # A commit that deleted the file has no version of it.
        if _git("ls-tree", commit, "--", path.name, folder=path.parent):
            yield commit, json.loads(_git("show", f"{commit}:./{path.name}", folder=path.parent))


def check(folder: Path = FOLDER) -> tuple[int, list[str]]:
    """Compare every schema of `folder` with all its committed versions.

    Returns:
        Number of versions compared, and the problems as `file@commit: problem`.

    Raises:
        PrerequisiteMissing: There is no git, or the folder is not in a clone.
    """
    compared, problems = 0, []
    for path in sorted(folder.glob("*.avsc")):
        current = json.loads(path.read_text(encoding="utf-8"))
        for commit, earlier in history(path):
            compared += 1
            problems += [f"{path.name}@{commit[:12]}: {text}" for text in full_problems(current, earlier)]
    return compared, problems


def main() -> int:
    """Print the result, and return the exit code."""
    compared, problems = check()
    for line in problems:
        sys.stderr.write(f"{line}\n")
    result = "break an earlier version" if problems else "fit every earlier version"
    sys.stdout.write(f"{len(schema_names())} schemas, {compared} committed versions compared: they {result}.\n")
    return 4 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
