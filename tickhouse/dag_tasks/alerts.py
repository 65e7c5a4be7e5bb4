"""Send messages to people through topic `crypto.alerts`, as JSON with the DAG as key.

Notification workers read the topic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from common.days import Days
from common.errors import StoreUnavailable
from common.settings import Settings
from common.topics import ALERTS
from tickhouse.dag_tasks.links import run_url

FLUSH_S = 30.0


def send(settings: Settings, key: str, message: dict[str, Any]) -> None:
    """Send one message; return once the broker has it.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    failures: list[str] = []
    options = {"bootstrap.servers": settings.kafka_bootstrap_servers, "enable.idempotence": True, "log_level": 3}
    producer = Producer(options)
    body = json.dumps({"at_us": time.time_ns() // 1000, **message}).encode()
    try:
        producer.produce(
            ALERTS, key=key, value=body, on_delivery=lambda error, _: failures.append(str(error)) if error else None
        )
        unsent = producer.flush(FLUSH_S)
    except (BufferError, KafkaException) as error:
        raise StoreUnavailable(f"Kafka did not accept the message: {error}.") from error
    if failures or unsent:
        raise StoreUnavailable(f"Kafka did not accept the message: {failures or 'no answer'}.")


def announce_failure(
    settings: Settings, dag_id: str, run_id: str, task_id: str = "", failure: Mapping[str, Any] | None = None
) -> None:
    """Report a failed run of a DAG, with the failed task, its error, and a link to the run.

    Args:
        settings: Addresses.
        dag_id: The DAG.
        run_id: Its run.
        task_id: The task that failed.
        failure: What `failures.failure_of` kept: `error`; of an audit also `laws`, `report` and the
            days, `from` and `to`.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    body = _about_run(settings, "run_failed", dag_id, run_id, "")
    send(settings, dag_id, body | {"task": task_id} | dict(failure or {}))


def announce_late(settings: Settings, dag_id: str, run_id: str, minutes: int) -> None:
    """Report a run that has not ended within its deadline; it goes on.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    send(settings, dag_id, _about_run(settings, "run_late", dag_id, run_id, "") | {"minutes": minutes})


def announce_passed(settings: Settings, dag_id: str, run_id: str, report: str, days: Days) -> None:
    """Report an audit that passed: it ends the alert about an earlier audit of the same days.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    body = _about_run(settings, "audit_passed", dag_id, run_id, report)
    send(settings, dag_id, body | {"from": str(days.first), "to": str(days.last)})


def announce_warnings(settings: Settings, dag_id: str, run_id: str, report: str, warnings: Sequence[str]) -> None:
    """Report an audit that passed with warnings: the laws, and links to the run and to the report.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    body = _about_run(settings, "audit_warned", dag_id, run_id, report)
    send(settings, dag_id, body | {"warnings": list(warnings)})


def _about_run(settings: Settings, kind: str, dag_id: str, run_id: str, report: str) -> dict[str, Any]:
    run = run_url(settings, dag_id, run_id)
    return {"kind": kind, "dag": dag_id, "run_id": run_id, "run": run, "report": report}
