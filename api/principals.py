"""Who makes a request: the holder of a key, or the page's session."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from common.settings import Settings

READ: Final = "read"
RULES: Final = "rules"
KEY_HEADER: Final = "X-API-Key"
SESSION_S: Final = 12 * 3600
# Cookies are shared by all ports of a host, so that the name has the port.
COOKIE_PREFIX: Final = "tickhouse_session_"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request.

    Attributes:
        name: What requests are counted by: a key's name, or one session.
        scopes: What it may do.
    """

    name: str
    scopes: frozenset[str]


class Principals:
    """Recognises keys and session cookies; holds no state of a session."""

    def __init__(self, settings: Settings) -> None:
        keys = {
            settings.api_read_key.get_secret_value(): Principal("read key", frozenset({READ})),
            settings.api_rules_key.get_secret_value(): Principal("rules key", frozenset({READ, RULES})),
        }
        # An empty key would let everybody in.
        self._keys = {key.encode(): principal for key, principal in keys.items() if key}
        self._secret = settings.api_session_secret.get_secret_value().encode()

    def of_key(self, given: bytes) -> Principal | None:
        """Return the holder of a key; every known key is compared in the same time."""
        found = [principal for key, principal in self._keys.items() if hmac.compare_digest(key, given)]
        return found[0] if found else None

    def of_cookie(self, header: str, port: int) -> Principal | None:
        """Return the session of a `Cookie` header; None when it is missing, changed or too old."""
        try:
            morsel = SimpleCookie(header).get(f"{COOKIE_PREFIX}{port}")
        except CookieError:
            return None
        parts = morsel.value.split(".") if morsel is not None else []
        if len(parts) != 3 or not self._secret:
            return None
        expires, nonce, signature = parts
        is_ours = hmac.compare_digest(signature.encode(), self._sign(f"{expires}.{nonce}").encode())
        if not is_ours or int(expires) < time.time():
            return None
        return Principal(f"session {nonce}", frozenset({READ}))

    def new_cookie(self, port: int) -> str:
        """Return the `Set-Cookie` header of a new session with scope `read`."""
        signed = f"{int(time.time()) + SESSION_S}.{secrets.token_hex(8)}"
        cookie = f"{COOKIE_PREFIX}{port}={signed}.{self._sign(signed)}"
        return f"{cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_S}"

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
