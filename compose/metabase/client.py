"""Requests to Metabase's API, with the session of its administrator."""

from __future__ import annotations

from typing import Any, Final

import httpx

from common.errors import ConfigurationError, ServiceNotReady

TIMEOUT_S: Final = 60.0
EMAIL: Final = "admin@example.org"
SESSION: Final = "X-Metabase-Session"


class MetabaseClient:
    """A client that signs in, or creates the first user where there is none.

    Args:
        url: Address of the server.
        password: Of the administrator.
    """

    def __init__(self, url: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        self._password = password

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def sign_in(self) -> bool:
        """Begin a session; return whether this was the first-run set-up.

        Raises:
            ConfigurationError: The server refuses the password.
            ServiceNotReady: The server does not answer.
        """
        properties = self.call("GET", "/api/session/properties")
        is_first = not properties.get("has-user-setup") and bool(properties.get("setup-token"))
        if is_first:
            user = {"first_name": "Tickhouse", "last_name": "Admin", "email": EMAIL, "password": self._password}
            preferences = {"site_name": "Tickhouse", "site_locale": "en", "allow_tracking": False}
            document = {"token": properties["setup-token"], "user": user, "prefs": preferences}
            session = self.call("POST", "/api/setup", document)
        else:
            session = self.call("POST", "/api/session", {"username": EMAIL, "password": self._password})
        self._http.headers[SESSION] = session["id"]
        return is_first

    def call(self, method: str, path: str, document: object = None, **query: Any) -> Any:
        """Make one request and return the document of the answer.

        Raises:
            ConfigurationError: The server refuses the request.
            ServiceNotReady: The server does not answer.
        """
        try:
            answer = self._http.request(method, path, json=document, params=query or None)
        except httpx.HTTPError as error:
            raise ServiceNotReady(
                f"Metabase does not answer: {error}.", next_command="docker compose logs metabase"
            ) from error
        if answer.status_code >= 500:
            raise ServiceNotReady(
                f"Metabase answered {method} {path} with status {answer.status_code}.",
                next_command="docker compose logs metabase",
            )
        if answer.status_code in (401, 403):
            raise ConfigurationError(
                f"Metabase refuses the login of {EMAIL}.",
                safe="Nothing was changed.",
                next_command="set the password in Metabase to METABASE_ADMIN_PASSWORD of "
                ".tickhouse/compose/metabase-setup.env",
            )
        if answer.is_error:
            raise ConfigurationError(f"Metabase refuses {method} {path}: {answer.text[:500]}")
        return answer.json() if answer.content else None
