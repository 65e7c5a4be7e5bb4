"""Servers built from Go modules: the message without Go, and a build that contacts no code host."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import PrerequisiteMissing, ServiceNotReady
from stack.engine import go_build
from stack.engine.go_build import find_go, go_program, module_folder

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
    first = go_program(MODULE, lambda _: None)
    assert first == go_program(MODULE, lambda _: None) == module_folder(MODULE) / "server"
    assert first.read_text() == "binary\n"
    (call,) = (cache / "calls").read_text().splitlines()
    assert call == f"https://proxy.example,https://other.example install -v -p 2 -ldflags=-s -w {MODULE}"


def test_a_build_reports_each_package(cache: Path) -> None:
    fake_go(cache, script='echo one.example/a >&2; echo one.example/b >&2; echo binary > "$GOBIN/server"')
    lines: list[str] = []
    go_program(MODULE, lines.append)
    assert [line.partition(": ")[2][:10] for line in lines] == ["takes minu", "1 packages", "2 packages"]


def test_a_failed_build_leaves_nothing(cache: Path) -> None:
    fake_go(cache, script='echo half > "$GOBIN/server"; echo "no such module" >&2; exit 1')
    with pytest.raises(ServiceNotReady, match="no such module"):
        go_program(MODULE, lambda _: None)
    assert not module_folder(MODULE).exists()


@pytest.mark.parametrize(("version", "seen"), [("1.19", "1.19"), ("", "none")])
def test_a_missing_or_old_go_is_reported(cache: Path, version: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if version:
        fake_go(cache, version=version)
    else:
        monkeypatch.setattr(go_build.shutil, "which", lambda _: None)
    with pytest.raises(PrerequisiteMissing, match=seen) as error:
        find_go(MODULE)
    assert "do without" in error.value.next_command
