"""A name means one thing: no two classes of the product have the same name (CONVENTIONS)."""

from __future__ import annotations

import ast
from collections import defaultdict

from common.settings import REPO

PACKAGES = ("api", "bench", "common", "dags", "producer", "schemas", "spark", "stack", "standins", "tickhouse")


def test_every_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in (file for package in PACKAGES for file in sorted((REPO / package).rglob("*.py"))):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(REPO)))

    assert len(places) > 500
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
