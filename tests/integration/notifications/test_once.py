"""Alerts while bridge, broker and worker are killed: each is delivered once per channel."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

import pytest

from common.clients.rabbitmq import CHANNELS, managed
from common.errors import StoreUnavailable
from common.polling import poll_while_moving
from tests.faults.processes import kill_program
from tests.integration.notifications.conftest import Receivers, made

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

# A wait ends when nothing was delivered for so long; a broker needs 40 s to start when it is busy.
STALLED_S = 240.0


def until(probe: Callable[[], tuple[bool, object]], what: str) -> None:
    """Wait as long as there is progress."""
    poll_while_moving(probe, STALLED_S, on_stall=lambda problem: AssertionError(f"{what}: {probe()}, {problem}"))


@pytest.mark.parametrize("alert_count", [200, pytest.param(1_000, marks=pytest.mark.long)])
def test_each_alert_is_delivered_once_per_channel_over_three_kills(receivers: Receivers, alert_count: int) -> None:
    subject = f"spot:KILL{uuid.uuid4().hex[:8].upper()}"
    alerts = [made(subject, number) for number in range(alert_count)]
    ids = [alert.alert_id for alert in alerts]

    def has(count: int) -> Callable[[], tuple[bool, object]]:
        def probe() -> tuple[bool, object]:
            counts = [len(delivered) for delivered in by_channel(receivers, ids).values()]
            return min(counts) >= count, counts

        return probe

    receivers.send(alerts[: alert_count * 4 // 10])
    until(has(1), "the first alert")
    kill_program("alert_bridge")
    receivers.send(alerts[alert_count * 4 // 10 : alert_count * 7 // 10])
    until(has(alert_count * 15 // 100), "alerts after the death of the bridge")
    kill_program("rabbitmq", with_children=True)
    receivers.send(alerts[alert_count * 7 // 10 :])
    until(has(alert_count * 45 // 100), "alerts after the death of the broker")
    kill_program("notification_worker")
    until(has(alert_count), "all alerts")

    delivered = by_channel(receivers, ids)
    assert set(delivered["file"].values()) == {1}
    for channel in ("webhook", "email"):
        # The worker was killed once, with at most one notification of each channel in its hands.
        # The receiver knows the repeat: it has the same id.
        assert sum(delivered[channel].values()) - alert_count in (0, 1), channel
    assert receivers.webhook.forged == []
    assert_rows_tell_the_repeats(receivers, ids, delivered)
    assert nothing_is_dead(receivers, subject)


def test_each_alert_is_delivered_once_per_channel_while_postgres_is_killed(receivers: Receivers) -> None:
    subject = f"spot:DARK{uuid.uuid4().hex[:8].upper()}"
    alerts = [made(subject, number) for number in range(60)]
    ids = [alert.alert_id for alert in alerts]

    def has(count: int) -> tuple[bool, object]:
        counts = [len(delivered) for delivered in by_channel(receivers, ids).values()]
        return min(counts) >= count, counts

    receivers.send(alerts[:30])
    until(lambda: has(1), "the first alert")
    kill_program("postgres", with_children=True)
    receivers.send(alerts[30:])
    until(lambda: has(60), "all alerts")

    delivered = by_channel(receivers, ids)
    assert set(delivered["file"].values()) == {1}
    for channel in ("webhook", "email"):
        # PostgreSQL may have died between a delivery and its row.
        assert sum(delivered[channel].values()) - 60 in (0, 1), channel
    assert_rows_tell_the_repeats(receivers, ids, delivered)
    assert nothing_is_dead(receivers, subject)


def by_channel(receivers: Receivers, ids: list[str]) -> dict[str, dict[str, int]]:
    """Return how often each alert arrived, by channel."""
    return {
        "file": receivers.by_file(ids),
        "webhook": receivers.by_webhook(ids),
        "email": receivers.by_email(ids),
    }


def assert_rows_tell_the_repeats(
    receivers: Receivers, ids: list[str], delivered: Mapping[str, Mapping[str, int]]
) -> None:
    """Each notification has one completed row, and a repeat is one whose row has a second try."""

    def settled() -> tuple[bool, object]:
        states = [state for state, _ in receivers.rows(ids).values()]
        return states.count("delivered") == len(CHANNELS) * len(ids), states.count("delivered")

    until(settled, "the rows")
    tries = {place: tries for place, (_, tries) in receivers.rows(ids).items()}
    assert len(tries) == len(CHANNELS) * len(ids)
    twice = {(one, channel) for channel, counts in delivered.items() for one, count in counts.items() if count > 1}
    assert twice <= {place for place, count in tries.items() if count > 1}


def nothing_is_dead(receivers: Receivers, subject: str) -> bool:
    from tickhouse.notifications.dead_letters import dead_notifications

    return all(subject.encode() not in one.body for one in dead_notifications(receivers.settings))


def test_a_user_has_the_rights_of_its_job_only(receivers: Receivers) -> None:
    for role in ("bridge", "worker"):
        with (
            pytest.raises(StoreUnavailable, match="refuses the login"),
            managed(receivers.settings, role) as management,
        ):
            management.depths()
    with managed(receivers.settings, "operator") as management:
        assert set(management.depths()) >= {f"notify.{channel}" for channel in CHANNELS}
