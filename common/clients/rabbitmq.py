"""RabbitMQ: names of exchanges and queues, AMQP connections, and the management API.

The exchanges and queues themselves are in `stack/rabbitmq/definitions.json`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import httpx

from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection

CHANNELS: Final = ("file", "webhook", "email")
NOTIFICATIONS: Final = "notifications"
RETRY: Final = "notifications.retry"
DEAD: Final = "notifications.dead"
DEAD_QUEUE: Final = "notify.dead"
# Waits between two tries; each is a queue of its own, so that a message never waits behind one with
# a longer time to live.
DELAYS: Final = ("5s", "30s", "5m", "30m")

CONNECT_S: Final = 10.0
REQUEST_S: Final = 10.0
# After this many seconds without a frame, either side takes the connection as lost.
HEARTBEAT_S: Final = 20


def channel_queue(channel: str) -> str:
    """Return the queue of a channel."""
    return f"notify.{channel}"


def retry_queue(delay: str) -> str:
    """Return the queue of one of `DELAYS`."""
    return f"notify.retry.{delay}"


@asynccontextmanager
async def connected(settings: Settings, role: str) -> AsyncIterator[AbstractConnection]:
    """Open an AMQP connection as one of `RABBITMQ_ROLES`, and close it.

    It is not opened again when it breaks: whoever uses it begins again from what it has stored.

    Raises:
        StoreUnavailable: The server does not answer, or refuses the login.
    """
    import aio_pika
    from aio_pika.exceptions import CONNECTION_EXCEPTIONS

    try:
        connection = await aio_pika.connect(settings.rabbitmq_dsn(role), timeout=CONNECT_S, heartbeat=HEARTBEAT_S)
        async with connection:
            yield connection
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise unavailable(error) from error


class Management:
    """The management API of one virtual host.

    Args:
        client: With address and login.
        vhost: The virtual host.
    """

    def __init__(self, client: httpx.Client, vhost: str) -> None:
        self._client = client
        self._vhost = quote(vhost, safe="")

    def depths(self) -> dict[str, int]:
        """Return the number of messages by queue, those in delivery included."""
        queues = self._request("GET", f"/api/queues/{self._vhost}?columns=name,messages").json()
        return {queue["name"]: int(queue.get("messages", 0)) for queue in queues}

    def consumers(self) -> dict[str, int]:
        """Return the number of consumers by queue."""
        queues = self._request("GET", f"/api/queues/{self._vhost}?columns=name,consumers").json()
        return {queue["name"]: int(queue.get("consumers", 0)) for queue in queues}

    def peek(self, queue: str, limit: int) -> list[dict[str, Any]]:
        """Return the first messages of a queue, and leave them there."""
        body = {"count": limit, "ackmode": "ack_requeue_true", "encoding": "base64"}
        found: list[dict[str, Any]] = self._request(
            "POST", f"/api/queues/{self._vhost}/{quote(queue)}/get", body
        ).json()
        return found

    def define(self, definitions: dict[str, Any]) -> None:
        """Make exchanges, queues and bindings; those that are there stay as they are."""
        self._request("POST", f"/api/definitions/{self._vhost}", definitions)

    def put_user(self, name: str, password: str, tags: str, rights: dict[str, str]) -> None:
        """Create a user, or make its password and rights equal to these."""
        self._request("PUT", f"/api/users/{quote(name)}", {"password": password, "tags": tags})
        self._request("PUT", f"/api/permissions/{self._vhost}/{quote(name)}", rights)

    def is_healthy(self) -> bool:
        """Return whether the server has no alarm and serves the virtual host."""
        return all(
            self._client.get(f"/api/health/checks/{check}").status_code == httpx.codes.OK
            for check in ("virtual-hosts", "local-alarms")
        )

    def _request(self, method: str, path: str, body: object = None) -> httpx.Response:
        answer = self._client.request(method, path, json=body)
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise StoreUnavailable(f"RabbitMQ refuses the login for {path}.", next_command="tickhouse logs rabbitmq")
        if answer.is_client_error:
            raise ConfigurationError(f"RabbitMQ refuses {method} {path}: {answer.text.strip()}")
        return answer.raise_for_status()


@contextmanager
def managed(settings: Settings, role: str) -> Iterator[Management]:
    """Open the management API as one of `RABBITMQ_ROLES`.

    Raises:
        ConfigurationError: The server refuses a request.
        StoreUnavailable: The server does not answer, or refuses the login.
    """
    vhost = urlsplit(settings.rabbitmq_url.get_secret_value()).path.removeprefix("/") or "/"
    login = settings.rabbitmq_login(role)
    try:
        with httpx.Client(
            base_url=settings.rabbitmq_management_url, auth=login, timeout=REQUEST_S, trust_env=False
        ) as client:
            yield Management(client, vhost)
    except httpx.HTTPError as error:
        raise unavailable(error) from error


def waiting(depths: dict[str, int], queues: Sequence[str]) -> int:
    """Return the number of messages in some queues."""
    return sum(depths.get(queue, 0) for queue in queues)


def unavailable(error: object) -> StoreUnavailable:
    """Return the error for a server that does not answer."""
    return StoreUnavailable(
        f"RabbitMQ does not answer: {error}",
        safe="Alerts wait in Kafka and in the queues.",
        next_command="tickhouse logs rabbitmq",
    )
