from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigurationError, PrerequisiteMissing
from common.settings import Settings
from stack.engine import privileges
from stack.engine.context import ServiceContext
from stack.engine.lifecycle import catalog
from stack.engine.model import Ready
from stack.engine.privileges import SETPRIV, UNSHARE, choose_prefix
from stack.engine.probe import accepts_connections, external_address, is_ready


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def context(ready: Ready | None = None, name: str = "redis", **settings: str) -> ServiceContext:
    service = catalog()[name]
    return ServiceContext(service.model_copy(update={"ready": ready or service.ready}), Settings(**settings))


def test_http_readiness_is_the_right_status(address: str) -> None:
    assert is_ready(context(Ready(http=f"http://{address}/well")))
    assert not is_ready(context(Ready(http=f"http://{address}/ill")))
    assert is_ready(context(Ready(http=f"http://{address}/ill", status=(503,))))
    assert not is_ready(context(Ready(http="http://127.0.0.1:1/")))


def test_tcp_readiness_is_an_open_port(address: str) -> None:
    assert is_ready(context(Ready(tcp=address)))
    assert not accepts_connections("127.0.0.1:1")


def test_command_readiness_is_its_exit_code() -> None:
    assert is_ready(context(Ready(command=("true",))))
    assert not is_ready(context(Ready(command=("false",))))


def test_a_missing_hook_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no hook 'stack\.redis\.setup:is_redy'"):
        is_ready(context(Ready(call="stack.redis.setup:is_redy")))


@pytest.mark.parametrize(
    ("service", "setting", "value", "expected"),
    [
        ("kafka", "kafka_bootstrap_servers", "broker-1:9092,broker-2:9092", "broker-1:9092"),
        ("redis", "redis_url", "redis://:pw@cache.example/0", "cache.example:6379"),
        ("postgres", "database_url", "postgresql://u:p@db.example:6432/x", "db.example:6432"),
        ("lakefs", "lakefs_endpoint", "https://lake.example", "lake.example:443"),
    ],
)
def test_the_address_of_an_external_service(service: str, setting: str, value: str, expected: str) -> None:
    assert external_address(context(name=service, **{setting: value})) == expected


def test_an_external_address_without_a_port_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="KAFKA_BOOTSTRAP_SERVERS"):
        external_address(context(name="kafka", kafka_bootstrap_servers="broker"))


@pytest.mark.parametrize(
    ("works", "expected"),
    [({UNSHARE, SETPRIV}, UNSHARE), ({SETPRIV}, SETPRIV), ({UNSHARE}, UNSHARE)],
)
def test_root_prefers_the_prefix_that_changes_no_owner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, works: set[tuple[str, ...]], expected: tuple[str, ...]
) -> None:
    as_root(monkeypatch, tmp_path, works)

    assert choose_prefix(Path("/bin/postgres"), tmp_path / "data") == expected


def test_root_without_a_working_prefix_gets_a_next_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_root(monkeypatch, tmp_path, set())

    with pytest.raises(PrerequisiteMissing, match="refuses to run as root") as caught:
        choose_prefix(Path("/bin/postgres"), tmp_path / "data")
    assert "ordinary user" in caught.value.next_command


def test_an_ordinary_user_needs_no_prefix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(privileges.os, "geteuid", lambda: 1000)

    assert choose_prefix(Path("/bin/postgres"), tmp_path) == ()


def as_root(monkeypatch: pytest.MonkeyPatch, folder: Path, works: set[tuple[str, ...]]) -> None:
    monkeypatch.setattr(privileges.os, "geteuid", lambda: folder.stat().st_uid)
    monkeypatch.setattr(privileges, "ROOT", folder.stat().st_uid)
    monkeypatch.setattr(privileges, "_works", lambda prefix, *_args, **_kwargs: prefix in works)
