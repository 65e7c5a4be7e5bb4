"""Messages to people, on `crypto.alerts`: JSON, keyed by what they are about. Whoever notifies reads the topic."""

from __future__ import annotations

import json
import time
from typing import Any

from confluent_kafka import KafkaException, Producer

from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

TOPIC = "crypto.alerts"
FLUSH_S = 30.0


def send(settings: Settings, key: str, message: dict[str, Any]) -> None:
    """Send one message; returns once the broker has it.

    Raises:
        StoreUnavailable: Kafka did not take it.
    """
    failed: list[str] = []
    options = {"bootstrap.servers": settings.kafka_bootstrap_servers, "enable.idempotence": True, "log_level": 3}
    producer = Producer(options)
    body = json.dumps({"at_us": time.time_ns() // 1000, **message}).encode()
    try:
        producer.produce(
            TOPIC, key=key, value=body, on_delivery=lambda error, _: failed.append(str(error)) if error else None
        )
        left = producer.flush(FLUSH_S)
    except (BufferError, KafkaException) as error:
        raise StoreUnavailable(f"Kafka did not take the message: {error}.") from error
    if failed or left:
        raise StoreUnavailable(f"Kafka did not take the message: {failed or 'no answer'}.")


def announce_failure(settings: Settings, dag_id: str, run_id: str, report: str = "") -> None:
    """Say that a run of a DAG failed, where it is seen, and where the audit's report is.

    Raises:
        StoreUnavailable: Kafka did not take it.
    """
    run = f"{settings.airflow_url}/dags/{dag_id}/runs/{run_id}"
    send(settings, dag_id, {"kind": "run_failed", "dag": dag_id, "run_id": run_id, "run": run, "report": report})
