"""Take alerts from Alertmanager over HTTP, and announce them on `crypto.alerts`.

The watcher reads the announcements back and records them like any other alert, so a request that
Alertmanager repeats makes no second alert. The answer is 200 once Kafka has every announcement;
after 503 Alertmanager sends the request again.
"""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, Counter, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from common.errors import RejectedRecord, StoreUnavailable
from tickhouse.alerts.alert import encode
from tickhouse.alerts.status_rules import METRIC_ALERT

PATH: Final = "/alerts"
# Alertmanager sends one request per group; a group is one alert.
MOST_BYTES: Final = 1 << 20
STATES: Final = ("firing", "resolved")


class MessageTopic(Protocol):
    """Where announcements go: `topics.AlertTopic`."""

    def send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send messages under their keys; return once the broker has all of them."""
        ...


def announcements(document: object, at_us: int) -> list[tuple[str, bytes]]:
    """Return the announcements of one request, by key (pure).

    Args:
        document: The body: Alertmanager's webhook format, version 4.
        at_us: When it arrived.

    Raises:
        RejectedRecord: It has another form.
    """
    if not isinstance(document, dict) or not isinstance(document.get("alerts"), list):
        raise RejectedRecord("wrong_type", "Expected an object with a list of alerts")
    return [_announcement(one, at_us) for one in document["alerts"]]


def _announcement(one: object, at_us: int) -> tuple[str, bytes]:
    if not isinstance(one, dict):
        raise RejectedRecord("wrong_type", f"Expected an alert, was {str(one)[:60]!r}")
    labels, annotations = _texts(one, "labels"), _texts(one, "annotations")
    name, state, starts_at = labels.get("alertname", ""), one.get("status"), one.get("startsAt")
    if not name or state not in STATES or not isinstance(starts_at, str):
        raise RejectedRecord("missing_field", "Expected an alert with alertname, status and startsAt")
    message = {
        "kind": METRIC_ALERT,
        "at_us": at_us,
        "alert": name,
        "state": state,
        "severity": labels.get("severity", ""),
        "labels": {key: value for key, value in labels.items() if key not in ("alertname", "severity")},
        "starts_at": starts_at,
        "summary": annotations.get("summary", ""),
        "description": annotations.get("description", ""),
        "runbook": annotations.get("runbook_url", ""),
    }
    return name, encode(message)


def _texts(one: Mapping[str, Any], field: str) -> dict[str, str]:
    found = one.get(field, {})
    if not isinstance(found, dict):
        raise RejectedRecord("wrong_type", f"Expected {field} as an object")
    return {str(key): str(value) for key, value in found.items()}


class AlertReceiver:
    """The WSGI application of the watcher: its metrics, and `POST /alerts`.

    Args:
        topic: Where announcements go.
        token: What Alertmanager must send as bearer token; when empty, every request is refused.
        registry: The metrics to serve; the requests are counted in it too.
    """

    def __init__(self, topic: MessageTopic, token: str, registry: CollectorRegistry) -> None:
        self._topic, self._token = topic, token
        self._metrics: WSGIApplication = make_wsgi_app(registry)
        self._requests = Counter(
            "tickhouse_alerts_received", "Requests of Alertmanager by status.", ["status"], registry=registry
        )
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ.get("PATH_INFO") != PATH:
            return self._metrics(environ, start_response)
        status, text = self._receive(environ)
        self._requests.labels(str(status.value)).inc()
        body = f"{text}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    def _receive(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str]:
        if environ.get("REQUEST_METHOD") != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, "expected POST"
        sent = str(environ.get("HTTP_AUTHORIZATION", ""))
        if not self._token or not hmac.compare_digest(sent.encode(), f"Bearer {self._token}".encode()):
            return HTTPStatus.UNAUTHORIZED, "expected the token of Alertmanager"
        length = str(environ.get("CONTENT_LENGTH") or "")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {MOST_BYTES} bytes"
        try:
            document = json.loads(environ["wsgi.input"].read(int(length)))
            messages = announcements(document, time.time_ns() // 1000)
        except (ValueError, RejectedRecord) as error:
            return HTTPStatus.BAD_REQUEST, str(error)
        return self._send(messages)

    def _send(self, messages: list[tuple[str, bytes]]) -> tuple[HTTPStatus, str]:
        try:
            with self._lock:
                self._topic.send(messages)
        except StoreUnavailable as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, error.message
        return HTTPStatus.OK, f"announced {len(messages)}"


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a scrape every ten seconds would fill the log."""


@contextmanager
def served(app: WSGIApplication, host: str, port: int) -> Iterator[None]:
    """Serve an application in threads until the context ends."""
    server: WSGIServer = ThreadingWSGIServer((host, port), _QuietHandler)
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
