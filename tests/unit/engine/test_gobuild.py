"""Servers that are Go modules: without Go the message says what to do, and a build never asks a code host."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.engine import gobuild
from stack.engine.gobuild import find_go, program, target_of
from tickhouse.errors import PrerequisiteMissing, ServiceNotReady

MODULE = "example.com/owner/server@v1.2.3"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def fake_go(folder: Path, *, version: str = "1.24", script: str = "") -> None:
    text = f"""#!/bin/sh
case "$1" in
  version) echo "go version go{version}.1 linux/amd64" ;;
  env) echo "https://proxy.example,https://other.example|direct" ;;
  install) echo "$GOPROXY $@" >> {folder}/calls; {script or 'echo binary > "$GOBIN/server"'} ;;
esac
"""
    (folder / "go").write_text(text)
    (folder / "go").chmod(0o755)


def test_a_program_is_built_once_under_its_version(cache: Path) -> None:
    fake_go(cache)
    first = program(MODULE, lambda _: None)
    assert first == program(MODULE, lambda _: None) == target_of(MODULE) / "server"
    assert first.read_text() == "binary\n"
    (call,) = (cache / "calls").read_text().splitlines()
    assert call == f"https://proxy.example,https://other.example install -p 2 -ldflags=-s -w {MODULE}"


def test_a_failed_build_leaves_nothing(cache: Path) -> None:
    fake_go(cache, script='echo half > "$GOBIN/server"; echo "no such module" >&2; exit 1')
    with pytest.raises(ServiceNotReady, match="no such module"):
        program(MODULE, lambda _: None)
    assert not target_of(MODULE).exists()


@pytest.mark.parametrize(("version", "seen"), [("1.19", "1.19"), ("", "none")])
def test_no_go_or_an_old_one_is_said(cache: Path, version: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if version:
        fake_go(cache, version=version)
    else:
        monkeypatch.setattr(gobuild.shutil, "which", lambda _: None)
    with pytest.raises(PrerequisiteMissing, match=seen) as error:
        find_go(MODULE)
    assert "do without" in error.value.next_command
