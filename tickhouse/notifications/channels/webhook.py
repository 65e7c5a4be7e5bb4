"""The webhook channel: the alert as JSON by POST, signed, with an idempotency key.

Headers of the request:

- `Idempotency-Key`: the alert's id. A repeat has the same one.
- `X-Tickhouse-Timestamp`: seconds since 1970. A receiver refuses old ones, so that nobody can send
  a recorded request again.
- `X-Tickhouse-Signature`: `v1=` and HMAC-SHA256, in hexadecimal digits, of the timestamp, a dot and
  the body, with `NOTIFY_WEBHOOK_SECRET`.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

import httpx

from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings
from tickhouse.notifications.notification import Notification

TIMEOUT_S = 10.0
# The receiver is overloaded or away; anything else below 500 does not change by itself.
TRY_AGAIN = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY, httpx.codes.TOO_MANY_REQUESTS)


class WebhookChannel:
    """Posts to `NOTIFY_WEBHOOK_URL`; redirects are not followed.

    Args:
        settings: Address and secret.
        clock: Returns seconds since 1970.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._url = settings.notify_webhook_url.get_secret_value()
        self._secret = settings.notify_webhook_secret.get_secret_value().encode()
        self._clock = clock

    async def send(self, notification: Notification, *, may_be_a_repeat: bool) -> None:
        """Post one notification; the receiver knows a repeat by its key.

        Raises:
            StoreUnavailable: The receiver is away, overloaded or fails.
            ConfigurationError: It refuses the request.
        """
        body = notification.body
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                answer = await client.post(self._url, content=body, headers=self._headers(notification.alert_id, body))
        except httpx.HTTPError as error:
            raise StoreUnavailable(f"The webhook does not answer: {error!r}.") from error
        if answer.is_success:
            return
        message = f"The webhook answered {answer.status_code}."
        if answer.is_server_error or answer.status_code in TRY_AGAIN:
            raise StoreUnavailable(message)
        raise ConfigurationError(message)

    def _headers(self, alert_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock()))
        return {
            "Content-Type": "application/json",
            "User-Agent": "tickhouse",
            "Idempotency-Key": alert_id,
            "X-Tickhouse-Timestamp": timestamp,
            "X-Tickhouse-Signature": signature(self._secret, timestamp, body),
        }


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the signature of a request."""
    return "v1=" + hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
