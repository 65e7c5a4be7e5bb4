from __future__ import annotations

import asyncio

import httpx
import pytest

from api.app import guarded, make_app
from common.settings import Settings


@pytest.mark.parametrize(
    ("path", "methods"), [("/v1/alert-rules/a", "DELETE, GET, PUT"), ("/v1/symbols", "GET"), ("/healthz", "GET")]
)
def test_all_methods_of_an_address_are_named(path: str, methods: str) -> None:
    settings = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own argument

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(guarded(make_app(settings), settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.options(path)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["Allow"]) == (405, methods)
