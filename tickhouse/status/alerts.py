"""The state of alerts and notifications: what rang, what waits, what was delivered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from common.clients.postgres import read_only
from common.clients.rabbitmq import CHANNELS, DEAD_QUEUE, DELAYS, channel_queue, managed, retry_queue, waiting
from common.settings import Settings
from stack.engine.enabled import is_queue_enabled
from tickhouse.status.section import Section

_ALERTS = "SELECT kind, count(*) FROM alerts.alerts WHERE NOT is_historic GROUP BY 1 ORDER BY 1"
_UNSENT = "SELECT count(*) FROM alerts.alerts WHERE published_at IS NULL"
_DELIVERIES = "SELECT channel || ' ' || state, count(*) FROM alerts.deliveries GROUP BY 1 ORDER BY 1"


def sections(settings: Settings) -> dict[str, Callable[[Settings], Section]]:
    """Return a reader for the alerts, and one for the notifications if RabbitMQ is enabled."""
    return {"alerts": alerts, **({"notifications": notifications} if is_queue_enabled(settings) else {})}


def alerts(settings: Settings) -> Section:
    """Return how many alerts rang, by kind, and how many Kafka does not have yet.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    with read_only(settings.database_dsn("reader")) as connection:
        rang = dict(connection.execute(_ALERTS).fetchall())
        row = connection.execute(_UNSENT).fetchone()
    return {"rang": rang, "unsent": row[0] if row else 0}


def notifications(settings: Settings) -> Section:
    """Return what waits in the queues, who takes it, and what was delivered.

    Raises:
        StoreUnavailable: RabbitMQ or PostgreSQL does not answer.
    """
    with managed(settings, "operator") as management:
        depths, consumers = management.depths(), management.consumers()
    with read_only(settings.database_dsn("reader")) as connection:
        deliveries = dict(connection.execute(_DELIVERIES).fetchall())
    return queue_section(depths, consumers) | {"deliveries": deliveries}


def queue_section(depths: Mapping[str, int], consumers: Mapping[str, int]) -> dict[str, Any]:
    """Return the section of the queues from their depths and consumers (pure)."""
    queues = {channel: channel_queue(channel) for channel in CHANNELS}
    return {
        "waiting": {channel: depths.get(queue, 0) for channel, queue in queues.items()},
        "waiting_for_next_try": waiting(dict(depths), [retry_queue(delay) for delay in DELAYS]),
        "dead": depths.get(DEAD_QUEUE, 0),
        "workers": {channel: consumers.get(queue, 0) for channel, queue in queues.items()},
    }


class QueueProblem(NamedTuple):
    """What a person should look at, and the page of the runbook about it."""

    text: str
    page: str


def problems(section: Mapping[str, Any]) -> list[QueueProblem]:
    """Return what a person should look at in the section of the notifications (pure)."""
    found = [
        f"{count} notifications for {channel} wait, and no worker takes them: the channel is off, or the worker is down"
        for channel, count in section["waiting"].items()
        if count and not section["workers"][channel]
    ]
    waiting_ones = [QueueProblem(text, "notifications-not-taken") for text in found]
    dead = f"{section['dead']} notifications are dead: tickhouse dlq show {DEAD_QUEUE}"
    return waiting_ones + ([QueueProblem(dead, "notifications-dead")] if section["dead"] else [])
