"""The rule of what may become `main`, without a lake."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.lake.audit import Candidate, facts, refusal

GOOD = Candidate("c" * 64, ("b" * 64,), facts(ok=True, report="http://docs/1", of="b" * 64), False, True)


def test_a_passed_audit_of_the_commit_below_may_be_merged() -> None:
    assert refusal(GOOD) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metadata": {}}, "carries no audit"),
        ({"metadata": facts(ok=False, report="http://docs/1", of="b" * 64)}, "http://docs/1"),
        ({"metadata": {**GOOD.metadata, "audit.ok": "TRUE"}}, "failed"),
        ({"metadata": facts(ok=True, report="", of="a" * 64)}, "the audit is of aaaa"),
        ({"parents": ()}, "the audit is of bbbb"),
        ({"parents": ("b" * 64, "d" * 64)}, "the audit is of bbbb"),
        ({"is_changed": True}, "has not seen"),
        ({"has_destination": False}, "the destination moved"),
    ],
)
def test_everything_else_is_refused_with_its_reason(change: dict[str, object], said: str) -> None:
    assert said in refusal(replace(GOOD, **change))  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from(("audit.ok", "audit.of", "audit.report")), st.text()), st.booleans())
def test_no_metadata_passes_but_the_right_one(metadata: dict[str, str], is_changed: bool) -> None:
    candidate = replace(GOOD, metadata=metadata, is_changed=is_changed)
    is_right = metadata.get("audit.ok") == "true" and metadata.get("audit.of") == "b" * 64 and not is_changed
    assert (refusal(candidate) == "") == is_right
