"""The watcher: judges candles, announcements, gaps and lags, and sends the alerts that ring.

    python -m tickhouse.alerts.watcher

For each batch of messages, in this order:

1. Judge the messages in the order of the topic (`judge.py`, in memory).
2. Store alerts, states and offsets in one transaction (`store.py`).
3. Send the alerts of the table that Kafka does not have yet, then mark them.

A process that dies before 2 judges the batch again. One that dies between 2 and 3 sends the alerts
after its next start. One that dies within 3 may send an alert twice, with the same bytes. After any
error the session begins again from what is stored, so nothing in memory is ever ahead of it.

Its metrics are at `GET /metrics`. Alertmanager posts the alerts of Prometheus to `/alerts`; they
become announcements (`receiver.py`), which the watcher reads like those of Airflow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing

import httpx
import structlog
from confluent_kafka import Message
from prometheus_client import CollectorRegistry, Counter, Gauge

from common.clients.avro import AvroDecoder, Undecodable, registry_lookup
from common.clients.kafka import TopicLog
from common.errors import ConfigurationError, RejectedRecord, TransientError
from common.logs import configure_logging, correlated
from common.market_kind import is_simulated
from common.settings import Settings, load_settings, ports
from common.topics import CANDLES
from producer.signals import stop_flag
from tickhouse.alerts.alert import Alert, is_alert, read_message
from tickhouse.alerts.judge import Judge, Moment
from tickhouse.alerts.receiver import AlertReceiver, served
from tickhouse.alerts.rule_stores import WatchedRules
from tickhouse.alerts.rules import LONGEST_WINDOW, Rule, RuleStore
from tickhouse.alerts.shared_states import SharedStates
from tickhouse.alerts.statuses import GapTable, lags
from tickhouse.alerts.store import AlertStore, Offsets
from tickhouse.alerts.topics import AlertTopic, WatchedTopics, keyed
from tickhouse.alerts.windows import Windows, bar_of

CONSUME_S = 1.0
POLL_EVERY_S = 30.0
# Pause after an error; it doubles up to the second value.
PAUSE_S, MOST_PAUSE_S = 0.5, 15.0
REGISTRY_S = 10.0

log = structlog.get_logger("alerts.watcher")


class WatcherMetrics:
    """The metrics of the watcher, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.judged = Counter("tickhouse_alerts_judged", "Messages judged.", registry=self.registry)
        self.skipped = Counter("tickhouse_alerts_skipped", "Messages that do not decode.", registry=self.registry)
        self.raised = Counter("tickhouse_alerts_raised", "Alerts by kind.", ["kind"], registry=self.registry)
        self.pending = Gauge("tickhouse_alerts_pending", "Alerts still to be sent.", registry=self.registry)


class Session:
    """Judges from what is stored until the first error.

    Args:
        settings: Addresses and passwords.
        store: Offsets, states and alerts.
        rules: The rules at the start.
        decoder: Reads candles.
        metrics: Counters.
    """

    def __init__(
        self,
        settings: Settings,
        store: AlertStore,
        rules: dict[str, Rule],
        decoder: AvroDecoder,
        metrics: WatcherMetrics,
    ) -> None:
        self._settings, self._store, self._decoder, self._metrics = settings, store, decoder, metrics
        self._judge = Judge(rules, store.states(), Windows(LONGEST_WINDOW, store.history))
        self._topic = AlertTopic(settings.kafka_bootstrap_servers)
        self._shared = SharedStates(settings)

    def take(self, messages: Iterable[Message]) -> Offsets:
        """Judge a batch, store the result, send what rang; return the offsets after it.

        Raises:
            StoreUnavailable: A store does not answer; the session must begin again.
        """
        alerts: list[Alert] = []
        offsets: dict[tuple[str, int], int] = {}
        moment = self._moment()
        for message in messages:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            if topic is None or partition is None or offset is None:
                continue
            alerts += self._judged(message, moment)
            offsets[topic, partition] = offset + 1
        if offsets:
            self._finish(alerts, offsets)
        return offsets

    def poll(self, gaps: GapTable, rules: dict[str, Rule]) -> None:
        """Judge gaps and lags by the present rules.

        Raises:
            StoreUnavailable: A store does not answer.
        """
        self._judge.use(rules)
        moment = self._moment()
        alerts = self._judge.gaps(gaps.read(), moment) + self._judge.lags(lags(self._settings), moment)
        self._finish(alerts, {})

    def _moment(self) -> Moment:
        return Moment(time.time_ns() // 1000, is_simulated(self._settings.home))

    def _judged(self, message: Message, moment: Moment) -> list[Alert]:
        try:
            if message.topic() == CANDLES:
                stream, bar = bar_of(self._decoder.decode(message.value()))
                found = self._judge.candle(stream, bar, message.timestamp()[1] * 1000, moment)
            else:
                document = read_message(message.value())
                found = [] if is_alert(document) else self._judge.announcement(document, moment)
        except (Undecodable, RejectedRecord) as error:
            self._metrics.skipped.inc()
            log.warning("skipped", topic=message.topic(), offset=message.offset(), error=str(error))
            return []
        self._metrics.judged.inc()
        return found

    def _finish(self, alerts: list[Alert], offsets: Offsets) -> None:
        changed = dict(self._judge.changed)
        if alerts or changed or offsets:
            self._store.commit(alerts, changed, offsets)
            self._shared.save(changed)
        self._judge.changed.clear()
        for alert in alerts:
            self._metrics.raised.labels(alert.kind).inc()
            with correlated(alert.alert_id, event__id=alert.alert_id):
                log.info("alert", rule=alert.rule, summary=alert.summary)
        self.publish()

    def publish(self) -> None:
        """Send every alert that Kafka does not have yet.

        Raises:
            StoreUnavailable: Kafka or PostgreSQL does not answer.
        """
        while pending := self._store.pending():
            self._metrics.pending.set(len(pending))
            self._topic.send(keyed(pending))
            self._store.mark_published([one.alert_id for one in pending])
        self._metrics.pending.set(0)


def watch(settings: Settings, rules: RuleStore, metrics: WatcherMetrics, must_stop: Callable[[], bool]) -> None:
    """Watch until `must_stop`; after an error of a store, begin again from what is stored.

    Raises:
        ConfigurationError: The rules do not load at the start.
    """
    present = rules.rules()
    pause_s, stopped = PAUSE_S, threading.Event()
    while not must_stop():
        try:
            _run_session(settings, rules, present, metrics, must_stop)
        except TransientError as error:
            log.warning("waiting", error=str(error), pause_s=pause_s)
            stopped.wait(pause_s)
            pause_s = min(2 * pause_s, MOST_PAUSE_S)
        else:
            pause_s = PAUSE_S


def _run_session(
    settings: Settings,
    rules: RuleStore,
    present: dict[str, Rule],
    metrics: WatcherMetrics,
    must_stop: Callable[[], bool],
) -> None:
    address, bootstrap = settings.schema_registry_url, settings.kafka_bootstrap_servers
    with (
        httpx.Client(timeout=REGISTRY_S, trust_env=False) as http,
        closing(AlertStore(settings.database_dsn("watcher"))) as store,
        closing(TopicLog.for_command(bootstrap)) as kafka,
        closing(WatchedTopics(bootstrap, store.offsets)) as topics,
    ):
        session = Session(settings, store, present, AvroDecoder(registry_lookup(address, http)), metrics)
        session.publish()
        gaps, next_poll = GapTable(kafka), 0.0
        while not must_stop():
            topics.show_progress(session.take(topics.consume(CONSUME_S)))
            if time.monotonic() >= next_poll:
                present = _reloaded(rules, present)
                session.poll(gaps, present)
                topics.show_progress(store.offsets())  # again: a commit in the background may have failed
                next_poll = time.monotonic() + POLL_EVERY_S


def _reloaded(rules: RuleStore, present: dict[str, Rule]) -> dict[str, Rule]:
    """Return the present rules; those from before when they do not load."""
    try:
        return rules.rules()
    except (ConfigurationError, TransientError) as error:
        log.warning("rules kept", error=str(error))
        return present


def main() -> None:
    """Watch until SIGTERM or SIGINT."""
    configure_logging("alert_watcher")
    settings, metrics, port = load_settings(), WatcherMetrics(), ports()["watcher_metrics"]
    topic = AlertTopic(settings.kafka_bootstrap_servers)
    receiver = AlertReceiver(topic, settings.alertmanager_token.get_secret_value(), metrics.registry)
    with stop_flag() as must_stop, served(receiver, settings.metrics_host, port):
        watch(settings, WatchedRules(settings), metrics, must_stop)


if __name__ == "__main__":
    main()
