"""docs/reference/log-fields.md against the parser and the index template."""

from __future__ import annotations

from common.settings import REPO
from tests.unit.docs.pages import table_rows
from tests.unit.tickhouse.logs.coverage import table
from tickhouse.logs.parsing import FIELDS

PAGE = (REPO / "docs" / "reference" / "log-fields.md").read_text()


def test_every_field_is_described() -> None:
    assert {name for name, *_ in table_rows(PAGE, "## Fields")} == FIELDS | {"labels"}


def test_the_table_of_sources_is_the_one_that_their_lines_give() -> None:
    assert table() in PAGE
