"""The rule of what may become `main`, without a lake."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.lake.audit_verdict import MOST_VERDICTS, MergeCandidate, days_in, refusal_reason, verdict_metadata

HEAD, AUDITED = "c" * 64, "b" * 64


def verdict(days: str = "", *, ok: bool = True, of: str = AUDITED, report: str = "http://docs/1") -> dict[str, str]:
    return verdict_metadata(ok=ok, report=report, of=of, days=days)


def candidate(*verdicts: dict[str, str], built: str = "") -> MergeCandidate:
    """Return a candidate with these verdicts, the newest first."""
    ids = [HEAD, *(f"{number:x}" * 64 for number in range(1, len(verdicts)))]
    return MergeCandidate(HEAD, tuple(zip(ids, verdicts, strict=False)), AUDITED, built, False, True)


GOOD = candidate(verdict())


def test_a_passed_audit_of_the_commit_below_may_be_merged() -> None:
    assert refusal_reason(GOOD) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verdicts": ()}, "has no audit"),
        ({"verdicts": ((HEAD, verdict(ok=False)),)}, "http://docs/1"),
        ({"verdicts": ((HEAD, {**GOOD.metadata, "audit.ok": "TRUE"}),)}, "failed"),
        ({"verdicts": ((HEAD, verdict(of="a" * 64)),)}, "the audit is of aaaa"),
        ({"verdicts": ((HEAD, verdict()),) * MOST_VERDICTS}, "verdicts or more"),
        ({"audited": "d" * 64}, "the audit is of bbbb"),
        ({"is_changed": True}, "has not seen"),
        ({"has_destination": False}, "the destination moved"),
    ],
)
def test_everything_else_is_refused_with_its_reason(change: dict[str, object], reason: str) -> None:
    assert reason in refusal_reason(replace(GOOD, **change))  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from(("audit.ok", "audit.of", "audit.report")), st.text()), st.booleans())
def test_only_the_right_metadata_passes(metadata: dict[str, str], is_changed: bool) -> None:
    found = ((HEAD, metadata),) if "audit.ok" in metadata else ()  # as `read_verdicts` gives them
    is_right = metadata.get("audit.ok") == "true" and metadata.get("audit.of") == AUDITED and not is_changed
    assert (refusal_reason(replace(GOOD, verdicts=found, is_changed=is_changed)) == "") == is_right


@pytest.mark.parametrize(
    ("verdicts", "built", "reason"),
    [
        ([verdict("2024-08-09"), verdict("2024-08-08", ok=False)], "", "the newest audit of 2024-08-08 failed"),
        ([verdict("2024-08-08"), verdict("2024-08-08", ok=False)], "", ""),
        ([verdict("2024-08-08..2024-08-09"), verdict("2024-08-08", ok=False)], "", ""),
        ([verdict("2024-08-08"), verdict("2024-08-08..2024-08-09", ok=False)], "", "2024-08-09 failed"),
        ([verdict("2024-08-08", ok=False), verdict("2024-08-08")], "", "the audit of 2024-08-08 at bbbb"),
        ([verdict("2024-08-08")], "2024-08-08..2024-08-09", "built 2024-08-09, which no audit covers"),
        ([verdict("2024-08-08"), verdict("2024-08-09")], "2024-08-08..2024-08-09", ""),
        # Verdicts of earlier versions name no days; each was about all that its branch built.
        ([verdict(), verdict(ok=False)], "2024-08-08", ""),
        ([verdict("2024-08-08", of="1" * 64), verdict(ok=False)], "2024-08-08", ""),
    ],
)
def test_the_newest_verdict_of_each_day_counts(verdicts: list[dict[str, str]], built: str, reason: str) -> None:
    found = refusal_reason(candidate(*verdicts, built=built))
    assert reason in found
    assert bool(found) == bool(reason)


def test_days_of_a_text() -> None:
    assert len(days_in("2024-02-28..2024-03-01")) == 3
    assert days_in("") == days_in("all days") == days_in("2024-08-09..2024-08-08") == ()
