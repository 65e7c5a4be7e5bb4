from __future__ import annotations

from tickhouse.status.alerts import problems, queue_section

DEPTHS = {"notify.file": 2, "notify.retry.5s": 1, "notify.retry.30m": 4, "notify.dead": 3}


def test_every_queue_is_counted() -> None:
    section = queue_section(DEPTHS, {"notify.file": 1})

    assert section["waiting"] == {"file": 2, "webhook": 0, "email": 0}
    assert section["workers"] == {"file": 1, "webhook": 0, "email": 0}
    assert (section["waiting_for_next_try"], section["dead"]) == (5, 3)


def test_dead_notifications_and_queues_without_worker_are_problems() -> None:
    assert problems(queue_section({}, {})) == []
    assert len(problems(queue_section(DEPTHS, {"notify.file": 1}))) == 1  # the dead ones

    (waiting, dead) = problems(queue_section(DEPTHS, {}))

    assert waiting.text.startswith("2 notifications for file wait")
    assert "tickhouse dlq show notify.dead" in dead.text
    assert (waiting.page, dead.page) == ("notifications-not-taken", "notifications-dead")
