"""Packages of the npm registry: what is taken, what is refused, and what a failure says."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import PrerequisiteMissing, ServiceNotReady
from stack.engine import npm_packages
from stack.engine.npm_packages import NpmPackage, npm_folder, registry, unpack


def archive(files: dict[str, bytes]) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return body.getvalue()


ARCHIVE = archive({"package/dist/chart.mjs": b"export {};", "package/LICENSE": b"Apache"})
PACKAGE = NpmPackage("chart", "1.0.0", "sha512-" + base64.b64encode(hashlib.sha512(ARCHIVE).digest()).decode())


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A registry on this machine that serves these paths, and a cache of its own."""
    paths = {"/chart/-/chart-1.0.0.tgz": ARCHIVE}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in paths else 404)
            self.end_headers()
            self.wfile.write(paths.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(npm_packages, "npm_packages", lambda: {"chart": PACKAGE})
        yield paths
        server.shutdown()
        thread.join()


def test_a_package_is_downloaded_once(served: dict[str, bytes]) -> None:
    folder = npm_folder("chart")
    served.clear()
    assert npm_folder("chart") == folder == PACKAGE.folder
    assert (folder / "dist/chart.mjs").read_bytes() == b"export {};"
    assert (folder / "LICENSE").exists()


def test_another_archive_than_the_pinned_one_is_refused(served: dict[str, bytes]) -> None:
    served["/chart/-/chart-1.0.0.tgz"] = archive({"package/dist/chart.mjs": b"evil"})
    with pytest.raises(ServiceNotReady, match=r"expected the integrity sha512-.*make setup"):
        npm_folder("chart")
    assert not PACKAGE.folder.exists()


def test_a_registry_without_the_package_is_named_with_the_next_command(served: dict[str, bytes]) -> None:
    served.clear()
    with pytest.raises(ServiceNotReady, match=r"the npm registry did not answer: .*404.* Next: make setup"):
        npm_folder("chart")


def test_a_member_outside_the_folder_is_refused(tmp_path: Path) -> None:
    evil = archive({"package/../../evil": b"x"})
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(evil).digest()).decode()
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(dataclasses.replace(PACKAGE, integrity=integrity), evil, tmp_path / "folder")
    assert not (tmp_path.parent / "evil").exists()


def test_without_npm_and_without_a_configuration_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteMissing, match="set NPM_CONFIG_REGISTRY"):
        registry()
