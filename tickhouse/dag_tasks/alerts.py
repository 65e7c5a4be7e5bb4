"""Send messages to people through topic `crypto.alerts`, as JSON with the DAG as key.

Notification workers read the topic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowFailException
from confluent_kafka import KafkaException, Producer

from common.days import Days
from common.errors import StoreUnavailable
from common.settings import Settings
from common.topics import ALERTS

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


def announce_failure(settings: Settings, dag_id: str, run_id: str, report: str = "", days: Days | None = None) -> None:
    """Report a failed run of a DAG, with links to the run and to the audit's report.

    Args:
        settings: Addresses.
        dag_id: The DAG.
        run_id: Its run.
        report: Link to the report, if the run failed because of an audit.
        days: The audited days.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    run = f"{settings.airflow_url}/dags/{dag_id}/runs/{run_id}"
    body = {"kind": "run_failed", "dag": dag_id, "run_id": run_id, "run": run, "report": report}
    send(settings, dag_id, body | _range_of(days))


def announce_passed(settings: Settings, dag_id: str, run_id: str, report: str, days: Days) -> None:
    """Report an audit that passed: it ends the alert about an earlier audit of the same days.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    run = f"{settings.airflow_url}/dags/{dag_id}/runs/{run_id}"
    body = {"kind": "audit_passed", "dag": dag_id, "run_id": run_id, "run": run, "report": report}
    send(settings, dag_id, body | _range_of(days))


def _range_of(days: Days | None) -> dict[str, Any]:
    return {} if days is None else {"from": str(days.first), "to": str(days.last)}


def announce_warnings(settings: Settings, dag_id: str, run_id: str, report: str, warnings: Sequence[str]) -> None:
    """Report an audit that passed with warnings: the laws, and links to the run and to the report.

    Raises:
        StoreUnavailable: Kafka did not accept the message.
    """
    run = f"{settings.airflow_url}/dags/{dag_id}/runs/{run_id}"
    body = {"kind": "audit_warned", "dag": dag_id, "run_id": run_id, "run": run, "report": report}
    send(settings, dag_id, body | {"warnings": list(warnings)})


def announce_and_fail(settings: Settings, dag_id: str, run_id: str, report: str = "", days: Days | None = None) -> None:
    """Report a failed run, then fail.

    The caller is the last task of its DAG, and Airflow takes the state of a run from the last task.

    Raises:
        AirflowFailException: Always, once the message is sent.
        StoreUnavailable: Kafka did not accept the message.
    """
    announce_failure(settings, dag_id, run_id, report, days)
    raise AirflowFailException(f"Run {run_id} of {dag_id} failed; the message is on {ALERTS}. {report}".rstrip())
