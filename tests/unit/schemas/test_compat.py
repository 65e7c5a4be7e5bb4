from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest

from common.errors import PrerequisiteMissing, SchemaIncompatible
from common.settings import REPO
from schemas import load
from schemas.compat import check, full_problems, read_problems

OPTIONAL = {"name": "venue", "type": ["null", "string"], "default": None}
REQUIRED = {"name": "venue", "type": "string"}


def trade_with(**changes):
    """Return trade.avsc with `add` appended, field `drop` taken out, or `retype` {name: type}."""
    schema = copy.deepcopy(load("trade"))
    schema["fields"] = [field for field in schema["fields"] if field["name"] != changes.get("drop")]
    for field in schema["fields"]:
        field["type"] = changes.get("retype", {}).get(field["name"], field["type"])
    if "add" in changes:
        schema["fields"].append(changes["add"])
    return schema


def decimal(scale):
    return {"type": "bytes", "logicalType": "decimal", "precision": 28, "scale": scale}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (trade_with(), ""),
        (trade_with(add=OPTIONAL), ""),
        (trade_with(add=REQUIRED), "newer reading older: $.venue"),
        (trade_with(drop="raw"), "older reading newer: $.raw"),
        (trade_with(retype={"trade_id": "int"}), "newer reading older: $.trade_id"),
        (trade_with(retype={"price": decimal(9)}), "$.price"),
        (trade_with(retype={"price": "bytes"}), "$.price"),
        (trade_with(retype={"side": ["null", "string"]}), "older reading newer: $.side"),
        ({**load("trade"), "name": "Deal"}, "$: expected record"),
    ],
)
def test_full_problems(changed, expected):
    problems = full_problems(changed, load("trade"))
    assert bool(problems) == bool(expected)
    assert all(expected in problem for problem in problems)


@pytest.mark.parametrize(
    ("reader", "writer", "is_readable"),
    [
        ("long", "int", True),
        ("int", "long", False),
        ("string", "bytes", True),
        (["null", "long"], "int", True),
        ("long", ["null", "long"], False),
        ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}, True),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "long"}, False),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, {"type": "enum", "name": "E", "symbols": ["A", "B"]}, False),
        ({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 5}, False),
    ],
)
def test_read_problems(reader, writer, is_readable):
    assert (not read_problems(reader, writer)) is is_readable


def git(folder, *arguments):
    name = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


def test_check_compares_with_every_earlier_version(tmp_path):
    """The change is compatible with the last version, and breaks the one before it."""
    path = tmp_path / "trade.avsc"
    git(tmp_path, "init", "-q")
    for version in (trade_with(), trade_with(drop="raw", add=OPTIONAL), trade_with(drop="raw")):
        path.write_text(json.dumps(version))
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", "version")
    compared, problems = check(tmp_path)
    assert compared == 3
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "older reading newer: $.raw: not in the writer's schema and without a default"
    ]


def test_our_schemas_are_compatible_with_their_history():
    try:
        compared, problems = check()
    except PrerequisiteMissing as error:
        pytest.skip(f"no git history here: {error}")
    assert problems == []
    assert compared >= 4


def test_outside_a_clone_git_is_missing(tmp_path):
    (tmp_path / "trade.avsc").write_text(json.dumps(load("trade")))
    with pytest.raises(PrerequisiteMissing, match="clone"):
        check(tmp_path)


@pytest.mark.runbook("schema-incompatible")
def test_a_schema_that_earlier_data_does_not_fit(followed, tmp_path):
    followed.folder = clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--shared", REPO, clone], check=True)
    (clone / ".venv").symlink_to(sys.prefix)
    path = clone / "schemas" / "trade.avsc"
    path.write_text(json.dumps(trade_with(add=REQUIRED)))

    found = followed.check(codes={".venv/bin/python -m schemas.compat": SchemaIncompatible.exit_code})
    path.write_text(json.dumps(trade_with(add=OPTIONAL)))  # the edit that the page asks for
    followed.repair()

    assert "$.venue" in found
