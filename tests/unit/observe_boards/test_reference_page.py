"""docs/reference/dashboards.md has every panel and card, each with rows that were measured."""

from __future__ import annotations

from tests.unit.observe_boards.reference_page import PAGE, UNKNOWN, measured, rendered

UPDATE = "Run: TICKHOUSE_UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/integration/boards"


def test_the_page_is_made_from_the_files() -> None:
    text = PAGE.read_text()
    assert text == rendered(measured(text)), UPDATE


def test_every_query_has_returned_rows() -> None:
    rows = measured(PAGE.read_text())
    assert len(rows) > 80
    assert [name for name, count in rows.items() if count in ("0", UNKNOWN)] == [], UPDATE
