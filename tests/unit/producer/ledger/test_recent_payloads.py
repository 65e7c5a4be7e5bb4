"""The last trades by event id are kept in bounded memory."""

from __future__ import annotations

from producer.ledger.recent_payloads import RecentPayloads


def test_recent_payloads_are_bounded():
    recent = RecentPayloads(size=10)
    for number in range(100):
        recent.newest[str(number)] = number
        recent.rotate()
    assert [recent.get(str(number)) for number in (99, 90, 79)] == [99, 90, None]
