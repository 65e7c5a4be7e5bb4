"""What the docs name exists: paths and modules. And the pages that the code names exist as well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.settings import REPO
from tests.unit.docs.named_files import missing_names
from tests.unit.docs.pages import code_pieces, files, pages

PAGE = re.compile(r"docs/[\w/-]+\.md")
DECISION = re.compile(r"(?:\bADR |docs/adr/)(\d{4})\b")


def name_of(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_paths_and_modules_that_a_page_names_exist(page: Path) -> None:
    pieces = list(code_pieces(page.read_text(encoding="utf-8")))

    missing = [f"{name_of(page)}:{number}: {name}" for number, piece in pieces for name in missing_names(piece)]
    assert missing == []


def test_pages_and_decisions_that_any_file_names_exist() -> None:
    missing = []
    for path in files(".py", ".md", ".sql", ".yaml", ".yml", ".toml", ".java", ".xml", ".json"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            absent = [page for page in PAGE.findall(line) if not (REPO / page).is_file()]
            absent += [f"ADR {one}" for one in DECISION.findall(line) if not list(REPO.glob(f"docs/adr/{one}-*.md"))]
            missing += [f"{name_of(path)}:{number}: {name}" for name in absent]
    assert missing == []


@pytest.mark.parametrize(
    "piece",
    [
        "see stack/no_such/",
        "tickhouse/<any>/no_such.py",
        "no_such_file.py",
        "common.no_such",
        "spark.batch.candles.nothing",
    ],
)
def test_a_name_that_does_not_exist_is_seen(piece: str) -> None:
    assert list(missing_names(piece))


@pytest.mark.parametrize(
    "piece",
    [
        "stack/<service>/service.yaml",
        "expectations/suites/*.json",
        "common.errors.ConfigurationError",
        "tickhouse.json",
    ],
)
def test_a_name_that_exists_passes(piece: str) -> None:
    assert list(missing_names(piece)) == []
