"""The page of proofs names tests that exist, and says of each row whether it is proven."""

from __future__ import annotations

import re

import pytest

from common.settings import REPO

PAGE = (REPO / "docs" / "reference" / "proofs.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:unit|field|integration|e2e|faults|contract)/[\w/.]+\.py)(?:::(\w+))?`", PAGE)))
ROWS = [line.split("|")[1:-1] for line in PAGE.splitlines() if re.match(r"\| [^-p]", line)]


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    file = REPO / "tests" / path

    assert file.is_file()
    assert f"def {name or 'test_'}" in file.read_text(encoding="utf-8")


def test_a_proven_row_names_its_test_and_an_open_one_claims_none() -> None:
    assert len(ROWS) > 50
    for promise, _, state, test in ROWS:
        assert state.strip().startswith(("proven", "open")), promise
        assert ("`" in test) is state.strip().startswith("proven"), promise
