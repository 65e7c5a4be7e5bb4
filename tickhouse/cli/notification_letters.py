"""The part of `tickhouse dlq` for dead notifications, which are in a queue of RabbitMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.settings import Settings

# common.clients.rabbitmq.DEAD_QUEUE, whose import would make `tickhouse --help` slow.
QUEUE = "notify.dead"


def letter_groups(settings: Settings) -> list[dict[str, Any]]:
    """Return the dead notifications by reason, like the groups of the other dead letters.

    Empty where RabbitMQ is not enabled.
    """
    from collections import defaultdict

    from stack.engine.enabled import is_queue_enabled
    from tickhouse.notifications.dead_letters import DeadNotification, dead_notifications

    by_reason: dict[str, list[DeadNotification]] = defaultdict(list)
    for one in dead_notifications(settings) if is_queue_enabled(settings) else ():
        by_reason[one.reason].append(one)
    return [_group(reason, by_reason[reason]) for reason in sorted(by_reason)]


def _group(reason: str, dead: list[Any]) -> dict[str, Any]:
    times = [_ms(one.died_at) for one in dead]
    return {
        "topic": QUEUE, "reason": reason, "writer": "notifications", "letters": len(dead), "redriven": 0,
        "resolved": 0, "first_ms": min(times), "last_ms": max(times), "example": dead[0].message_id,
    }  # fmt: skip


def _ms(died_at: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(died_at).timestamp() * 1000) if died_at else 0


def show(reason: str | None, limit: int, json: bool) -> None:
    """List the oldest dead notifications."""
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.notifications.dead_letters import dead_notifications

    found = [one for one in dead_notifications(load_settings()) if reason in (None, one.reason)][:limit]
    documents = [one.document() for one in found]
    if json:
        print_json(documents)
    else:
        _table(("message_id", "died_at", "channel", "reason", "detail", "preview"), documents)


def redrive(reason: str | None, limit: int | None, *, is_dry: bool, json: bool) -> None:
    """Send dead notifications again.

    Raises:
        RejectedRecord: One cannot be sent again.
    """
    from common.errors import RejectedRecord
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.notifications import dead_letters

    outcomes = dead_letters.redrive(load_settings(), reason=reason, limit=limit, is_dry=is_dry)
    documents = [one.document() for one in outcomes]
    if json:
        print_json(documents)
    else:
        _table(("message_id", "channel", "reason", "result", "why"), documents)
    refused = [one for one in outcomes if one.result == "refused"]
    if refused:
        raise RejectedRecord("redrive_refused", f"{len(refused)} of {len(outcomes)} notifications: {refused[0].why}")


def _table(columns: tuple[str, ...], documents: list[dict[str, Any]]) -> None:
    from tickhouse.cli.render.tables import show_table

    rows = [[document[name] for name in columns] for document in documents]
    show_table(columns, rows, empty="No such dead notification.")
