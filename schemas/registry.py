"""Register the schemas with a Confluent-compatible registry.

That is Apicurio's ccompat v7, or Confluent's own.

Protocol: https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

from typing import Any

import httpx

from common.errors import SchemaIncompatible, ServiceNotReady
from schemas.loading import canonical_text, compatibility_policy, subjects

TIMEOUT_S = 30.0  # on a loaded machine Apicurio needs 5 to 10 s for its first registration
MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


def register_all(registry_url: str, client: httpx.Client | None = None) -> dict[str, int]:
    """Register every subject of `topics.yaml` with the compatibility policy. A repeat is harmless.

    Args:
        registry_url: Base of the Confluent API; `http://host:port/apis/ccompat/v7` for Apicurio.
        client: HTTP client to use instead of a new one.

    Returns:
        Schema id by subject.

    Raises:
        SchemaIncompatible: A schema is not compatible with an earlier version.
        ServiceNotReady: The registry does not answer, or answers with an error.
    """
    base = registry_url.rstrip("/")
    with client or httpx.Client(timeout=TIMEOUT_S) as http:
        _call(http, "PUT", f"{base}/config", {"compatibility": compatibility_policy()})
        return {subject: _register(http, base, subject, name) for subject, name in subjects().items()}


def schema_id(registry_url: str, subject: str, client: httpx.Client | None = None) -> int:
    """Return the id of our schema of one subject; register it when it is not registered yet.

    Raises:
        SchemaIncompatible: The schema is not compatible with an earlier version.
        ServiceNotReady: The registry does not answer.
    """
    with client or httpx.Client(timeout=TIMEOUT_S) as http:
        return _register(http, registry_url.rstrip("/"), subject, subjects()[subject])


def _register(http: httpx.Client, base: str, subject: str, name: str) -> int:
    body = {"schema": canonical_text(name), "schemaType": "AVRO"}
    answer = _call(http, "POST", f"{base}/subjects/{subject}/versions", body)
    # Set the level per subject too: a later change of the global level must not affect our
    # subjects. Apicurio accepts it only after the subject exists.
    _call(http, "PUT", f"{base}/config/{subject}", {"compatibility": compatibility_policy()})
    return int(answer["id"])


def _call(http: httpx.Client, method: str, url: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        response = http.request(method, url, json=body, headers={"Content-Type": MEDIA_TYPE})
    except httpx.HTTPError as error:
        raise ServiceNotReady(
            f"The schema registry does not answer at {url}: {error!r}.",
            safe="Nothing was registered by this call.",
            next_command="tickhouse status",
        ) from error
    if response.status_code == httpx.codes.CONFLICT:
        raise SchemaIncompatible(
            f"The registry refuses {url}: {response.text.strip()}.",
            safe="The registered versions are unchanged.",
            next_command="python -m schemas.compat",
        )
    if response.is_error:
        raise ServiceNotReady(
            f"The schema registry answered {response.status_code} to {method} {url}: {response.text[:300]}.",
            next_command="tickhouse logs registry",
        )
    answer: dict[str, Any] = response.json()
    return answer
