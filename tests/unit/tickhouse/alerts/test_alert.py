from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import RejectedRecord
from tickhouse.alerts.alert import Alert, alert_id, encode, iso, raised_at, read_message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT, TEXT, TEXT, st.integers(0, 2**52), st.dictionaries(TEXT, TEXT, max_size=4))
def test_a_message_is_read_as_it_was_sent(
    subject: str, window: str, summary: str, raised_at_us: int, values: dict[str, str]
) -> None:
    alert = Alert("jump", "price_move", "info", subject, window, raised_at_us, summary, values)

    assert read_message(encode(alert.document())) == alert.document()
    assert iso(raised_at_us) == raised_at(alert.document()).isoformat().replace("+00:00", "Z")


def test_the_id_depends_on_rule_subject_and_window_only() -> None:
    first = Alert("jump", "price_move", "info", "spot:币安人生USDT", "w", 1, "a")
    second = Alert("jump", "price_move", "critical", "spot:币安人生USDT", "w", 2, "b", {"x": "1"})

    assert first.alert_id == second.alert_id
    # Pinned: another id for the same alert would be delivered again.
    assert alert_id("price_jump", "spot:BTCUSDT", "2024-08-09T00:05:00Z") == "07e0e829-ea5d-57c5-8456-7ed6f67dae2c"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "invalid_json"),
        (b"", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"[1]", "wrong_type"),
        (b"{}", "wrong_type"),
        (json.dumps({"alert_id": "a", "kind": "k"}).encode(), "missing_field"),
    ],
)
def test_other_messages_are_refused_with_a_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(RejectedRecord) as refused:
        read_message(value)

    assert refused.value.reason == reason


def test_an_announcement_of_airflow_is_a_message() -> None:
    message: dict[str, Any] = {"at_us": 1, "kind": "run_failed", "dag": "nightly_batch", "run_id": "r"}

    assert read_message(json.dumps(message).encode()) == message
