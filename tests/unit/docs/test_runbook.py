"""The runbook: every alert, error and check of `doctor` has one page, and every page its test."""

from __future__ import annotations

import pytest

from common.errors import TickhouseError
from common.settings import REPO
from tests.runbook.following import FollowedPage
from tests.runbook.index import (
    NOT_TESTED,
    error_classes,
    fault_tests,
    metric_alerts,
    owners,
    render,
)
from tests.runbook.pages import SECTIONS, RunbookPage, page_names, path_of, read_page
from tickhouse.alerts.rules import FILE, PAGES, load_rules
from tickhouse.status.doctor import checks

INDEX = REPO / "docs" / "runbook" / "README.md"


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_has_a_page(error: type[TickhouseError]) -> None:
    assert path_of(error.runbook_page).is_file()
    # An error with an exit code of its own has a page that says what to do about it.
    assert (error.runbook_page == TickhouseError.runbook_page) is (error.exit_code == TickhouseError.exit_code)


def test_every_error_of_the_code_is_seen() -> None:
    assert len(error_classes()) > 15
    assert TickhouseError in error_classes()


def test_every_alert_has_a_page() -> None:
    pages = {rule["alert"]: REPO / rule["annotations"]["runbook_url"] for rule in metric_alerts()}
    pages |= {rule.id: path_of(PAGES[rule.kind]) for rule in load_rules(FILE).values()}

    assert len(pages) > 25
    assert [name for name, path in pages.items() if not path.is_file()] == []


def test_every_check_of_doctor_has_a_page() -> None:
    named = [(check.name, page) for check in checks() for page in check.pages]

    assert len(named) >= len(checks()) > 10
    assert [one for one in named if not path_of(one[1]).is_file()] == []


def test_every_page_is_about_something() -> None:
    assert set(page_names()) == set(owners())


@pytest.mark.parametrize("name", page_names())
def test_a_page_has_every_section_and_commands(name: str) -> None:
    page = read_page(name)

    assert tuple(page.sections) == SECTIONS
    assert [section for section, text in page.sections.items() if not text.strip()] == []
    assert page.commands("Check")
    assert page.commands("Repair")


@pytest.mark.parametrize("name", page_names())
def test_a_page_has_a_fault_test_or_the_reason_why_not(name: str) -> None:
    assert (name in fault_tests()) is not (name in NOT_TESTED)


def test_a_fault_test_names_a_page() -> None:
    assert set(fault_tests()) <= set(page_names())
    assert set(NOT_TESTED) <= set(page_names())


def test_the_index_is_current() -> None:
    assert INDEX.read_text() == render(), "run: .venv/bin/python -m tests.runbook.index > docs/runbook/README.md"


def a_page(check: str, repair: str) -> RunbookPage:
    return RunbookPage("some", "Some", {"Check": f"```sh\n{check}\n```\n", "Repair": f"```sh\n{repair}\n```\n"})


def test_commands_run_as_they_stand_in_the_page() -> None:
    followed = FollowedPage(a_page("echo NAME", "echo 1; exit 3"), {"NAME": "redis"})

    assert followed.check() == "redis\n"
    assert followed.left == ["echo 1; exit 3"]
    assert followed.repair(codes={"echo 1": 3}) == "1\n"
    assert followed.left == []


def test_a_command_that_ends_otherwise_than_expected_fails_the_test() -> None:
    followed = FollowedPage(a_page("true", "tickhouse logs no_such_service"))

    with pytest.raises(AssertionError, match="expected 0, was 2"):
        followed.repair()


def test_a_placeholder_without_a_value_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="SERVICE"):
        FollowedPage(a_page("true", "echo SERVICE")).repair()
