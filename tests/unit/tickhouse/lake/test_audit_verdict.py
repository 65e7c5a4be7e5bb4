"""The rule of what may become `main`, without a lake."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.lake.audit_verdict import MergeCandidate, refusal_reason, verdict_metadata

GOOD = MergeCandidate(
    "c" * 64, ("b" * 64,), verdict_metadata(ok=True, report="http://docs/1", of="b" * 64), False, True
)


def test_a_passed_audit_of_the_commit_below_may_be_merged() -> None:
    assert refusal_reason(GOOD) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metadata": {}}, "has no audit"),
        ({"metadata": verdict_metadata(ok=False, report="http://docs/1", of="b" * 64)}, "http://docs/1"),
        ({"metadata": {**GOOD.metadata, "audit.ok": "TRUE"}}, "failed"),
        ({"metadata": verdict_metadata(ok=True, report="", of="a" * 64)}, "the audit is of aaaa"),
        ({"parents": ()}, "the audit is of bbbb"),
        ({"parents": ("b" * 64, "d" * 64)}, "the audit is of bbbb"),
        ({"is_changed": True}, "has not seen"),
        ({"has_destination": False}, "the destination moved"),
    ],
)
def test_everything_else_is_refused_with_its_reason(change: dict[str, object], reason: str) -> None:
    assert reason in refusal_reason(replace(GOOD, **change))  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from(("audit.ok", "audit.of", "audit.report")), st.text()), st.booleans())
def test_only_the_right_metadata_passes(metadata: dict[str, str], is_changed: bool) -> None:
    candidate = replace(GOOD, metadata=metadata, is_changed=is_changed)
    is_right = metadata.get("audit.ok") == "true" and metadata.get("audit.of") == "b" * 64 and not is_changed
    assert (refusal_reason(candidate) == "") == is_right
