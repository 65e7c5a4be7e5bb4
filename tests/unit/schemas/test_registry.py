from __future__ import annotations

import json

import httpx
import pytest

from common.errors import SchemaIncompatible, ServiceNotReady
from schemas import canonical_text, subjects
from schemas.registry import register_all, schema_id

URL = "http://registry.test/apis/ccompat/v7/"


class Registry:
    """Answers like a Confluent registry: the same text has the same id under every subject."""

    def __init__(self):
        self.ids, self.levels, self.refuses = {}, {}, ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        path = request.url.path.removeprefix("/apis/ccompat/v7/")
        if request.method == "PUT":
            self.levels[path] = body["compatibility"]
            return httpx.Response(200, json=body)
        if self.refuses and self.refuses in path:
            return httpx.Response(409, json={"error_code": 409, "message": "incompatible"})
        number = self.ids.setdefault(body["schema"], len(self.ids) + 1)
        return httpx.Response(200, json={"id": number})


@pytest.fixture
def registry():
    return Registry()


def client(handler):
    return httpx.Client(transport=httpx.MockTransport(handler))


def test_register_all_registers_the_canonical_text_once(registry):
    first = register_all(URL, client(registry))
    assert register_all(URL, client(registry)) == first
    assert set(first) == set(subjects())
    assert set(registry.ids) == {canonical_text(name) for name in subjects().values()}


def test_register_all_sets_the_policy_globally_and_by_subject(registry):
    register_all(URL, client(registry))
    assert set(registry.levels) == {"config", *(f"config/{subject}" for subject in subjects())}
    assert set(registry.levels.values()) == {"FULL_TRANSITIVE"}


def test_conflict_is_an_incompatible_schema(registry):
    registry.refuses = "crypto.ticks"
    with pytest.raises(SchemaIncompatible, match="incompatible"):
        register_all(URL, client(registry))


def test_server_error_and_silence_may_be_retried():
    with pytest.raises(ServiceNotReady, match="500"):
        schema_id(URL, "crypto.trades-value", client(lambda _: httpx.Response(500)))

    def refuse(request):
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ServiceNotReady, match="does not answer"):
        schema_id(URL, "crypto.trades-value", client(refuse))
