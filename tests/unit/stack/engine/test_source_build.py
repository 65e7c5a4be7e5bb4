"""Builds from source in the background: once per machine, resumable, and never a silent failure.

The tools are scripts that behave like Go and cargo; the real build takes half an hour.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from common.errors import PrerequisiteMissing, ServiceNotReady
from common.settings import REPO
from stack import setup
from stack.engine import prefetch, source_build
from stack.engine.lifecycle import catalog
from stack.engine.source_build import SourceBuild, program_of
from tests.eventually import eventually

FOLDER = "stack/influxdb/build"
GO = """#!/bin/sh
case "$1" in
  version) echo "go version go1.26.8 linux/amd64"; exit ;;
  env) echo "https://proxy.example,direct"; exit ;;
esac
echo "$GOPROXY $@" >> {calls}
[ "$1" = install ] && exit 0
{script}
while [ "$1" != -o ]; do shift; done
echo binary > "$2"
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a folder on PATH with the tools of a build."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(source_build, "WATCH_EVERY_S", 0.05)
    script(folder, "rustc", "#!/bin/sh\necho rustc 1.95.0\n")
    script(folder, "cargo", "#!/bin/sh\n")
    script(folder, "pkg-config", "#!/bin/sh\n")
    script(folder, "rustup", "#!/bin/sh\necho stable-of-this-machine default\n")
    use_go(folder, "")
    yield folder
    for builder in builders(SourceBuild(FOLDER)):  # of a test that failed
        os.killpg(builder.pid, 9)


def script(folder: Path, name: str, text: str) -> None:
    # A new file, since a program that is being started cannot be written to.
    new = folder / f".{name}"
    new.write_text(text)
    new.chmod(0o755)
    new.replace(folder / name)


def use_go(folder: Path, does: str) -> None:
    script(folder, "go", GO.format(calls=folder / "calls", script=does))


def builders(build: SourceBuild) -> list[psutil.Process]:
    """Return the processes that build into the cache of this test."""
    return [
        process
        for process in psutil.Process().children()
        if process.status() != psutil.STATUS_ZOMBIE and build.folder in process.cmdline()
    ]


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_a_program_is_built_once_from_the_pinned_module(tools: Path) -> None:
    first = program_of(FOLDER)

    assert program_of(FOLDER) == first == SourceBuild(FOLDER).program
    assert first.read_text() == "binary\n"
    install, build = calls(tools)
    assert install == "https://proxy.example install github.com/influxdata/pkg-config@v0.2.14"  # no code host
    assert "-mod=readonly" in build
    assert build.endswith("github.com/influxdata/influxdb/v2/cmd/influxd")
    assert SourceBuild(FOLDER).state().state == "built"
    assert [path.name for path in first.parent.parent.iterdir() if path.name.startswith(".")] == []


def test_the_compilers_get_their_own_environment(tools: Path) -> None:
    use_go(tools, f'echo "$RUSTUP_TOOLCHAIN $(basename $RUSTC_WRAPPER) $(basename $PKG_CONFIG)" > {tools}/seen')
    program_of(FOLDER)

    assert (tools / "seen").read_text() == "stable-of-this-machine rustc.sh pkg-config\n"


def test_the_wrapper_names_each_crate_and_lets_warnings_pass(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = subprocess.run(
        [REPO / FOLDER / "rustc.sh", "/bin/echo", "--crate-name", "fluxcore", "--edition"],
        env=os.environ | {"TICKHOUSE_BUILD_LOG": str(log)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "--crate-name fluxcore --edition --cap-lints=warn\n"
    assert log.read_text() == "crate fluxcore\n"


def test_a_build_in_the_background_tells_how_far_it_is(tools: Path) -> None:
    printed = "echo crate regex; echo internal/abi; echo 'go: downloading x v1'"
    use_go(tools, f"{printed}; while [ ! -e {tools}/go-on ]; do sleep 0.1; done")
    build, lines = SourceBuild(FOLDER), list[str]()
    waiting = threading.Thread(target=lambda: build.wait(lines.append))

    assert build.state().state == "not started"
    assert build.start()
    eventually(lambda: build.steps_done() == 2)
    assert build.state().state == "building"
    assert "0 % built after 0 min" in build.state().detail
    assert not build.start()  # one at a time
    waiting.start()
    eventually(lambda: lines)
    (tools / "go-on").touch()
    waiting.join(60)

    assert build.state().state == "built"
    assert len([call for call in calls(tools) if " build " in call]) == 1


def test_a_failed_build_says_why_and_may_be_tried_again(tools: Path) -> None:
    use_go(tools, "echo 'no such module' >&2; exit 1")
    build = SourceBuild(FOLDER)

    with pytest.raises(ServiceNotReady, match="no such module"):
        build.wait(lambda _: None)
    assert build.state().state == "failed"
    assert "no such module" in build.state().detail
    assert not build.target.exists()

    use_go(tools, "")
    assert build.wait(lambda _: None) == build.program


def test_a_build_that_was_killed_is_continued(tools: Path) -> None:
    use_go(tools, "sleep 600")
    build = SourceBuild(FOLDER)
    assert build.start()
    eventually(build.is_running)
    (builder,) = builders(build)
    os.killpg(builder.pid, 9)
    eventually(lambda: not build.is_running())

    assert build.state().state == "not started"
    use_go(tools, "")
    assert build.wait(lambda _: None).read_text() == "binary\n"


@pytest.mark.parametrize(
    ("tool", "text", "wanted"),
    [
        ("cargo", None, "apt-get install cargo-web rustc-web"),
        ("rustc", "#!/bin/sh\necho rustc 1.63.0\n", "was 1.63"),
        ("go", "#!/bin/sh\necho go version go1.19.8 linux/amd64\n", "was version 1.19"),
    ],
)
def test_what_is_missing_is_named_with_the_package(tools: Path, tool: str, text: str | None, wanted: str) -> None:
    (tools / tool).unlink()
    if text:
        script(tools, tool, text)

    with pytest.raises(PrerequisiteMissing) as error:
        SourceBuild(FOLDER).start()
    assert wanted in str(error.value)
    assert "profile core" in str(error.value)


def test_setup_starts_the_builds_and_does_not_wait(tools: Path, capfd: pytest.CaptureFixture[str]) -> None:
    use_go(tools, f"while [ ! -e {tools}/go-on ]; do sleep 0.1; done")
    build = SourceBuild(FOLDER)

    source_build.start_all()
    printed = capfd.readouterr()

    assert printed.out.split() == [str(build.target)]
    assert "in the background" in printed.err
    eventually(build.is_running)
    (tools / "go-on").touch()
    eventually(lambda: build.state().state == "built", timeout_s=60)


def test_setup_goes_on_without_the_tools(tools: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tools / "cargo").unlink()

    source_build.start_all()

    assert "InfluxDB is not built." in capfd.readouterr().err


def test_a_current_setup_continues_an_unfinished_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stamp, target, started = tmp_path / "stamp.json", tmp_path / "influxd", list[bool]()
    monkeypatch.setattr(setup, "STAMP", stamp)
    monkeypatch.setattr(setup, "start_builds", lambda: started.append(True))
    stamp.write_text(json.dumps({"made_from": setup.made_from(), "folders": [], "builds": [str(target)]}))

    assert setup.main() == 0
    target.mkdir()
    assert setup.main() == 0

    assert started == [True]


def test_prefetch_leaves_builds_alone(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(prefetch, "fetch", lambda service, _: fetched.append(service.name) or {})
    monkeypatch.setattr(prefetch, "jar_dir", lambda *_: tools)

    assert prefetch.main() == 0
    assert {"influxdb", "minio"}.isdisjoint(fetched)
    assert {service.name for service in catalog().values() if service.fetch.source} == {"influxdb"}
    assert calls(tools) == []
