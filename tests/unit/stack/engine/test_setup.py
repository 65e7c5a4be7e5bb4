from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from common.errors import ConfigurationError, PrerequisiteMissing, ServiceNotReady
from stack import setup
from stack.engine import fetch
from stack.engine.cache import cached_folder
from stack.engine.progress import LineReporter
from stack.kafka.setup import _refuse_other_partitions


def test_missing_prerequisites_are_named_by_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert setup.missing_packages() == {}

    monkeypatch.setenv("PATH", str(tmp_path))

    assert set(setup.missing_packages()) == {"openjdk-17-jdk-headless", "maven", "build-essential"}


def test_an_old_java_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert setup.java_major() == 11
    assert "openjdk-17-jdk-headless" in setup.missing_packages()


def test_setup_without_prerequisites_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert setup.main() == PrerequisiteMissing.exit_code
    assert "Next: apt-get install openjdk-17-jdk-headless maven build-essential" in capsys.readouterr().err


def test_the_stamp_holds_until_something_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stamp, jars = tmp_path / "stamp.json", tmp_path / "jars"
    monkeypatch.setattr(setup, "STAMP", stamp)
    assert not setup.is_current()

    jars.mkdir()
    stamp.write_text(json.dumps({"made_from": setup.made_from(), "folders": [str(jars)]}))
    assert setup.is_current()

    jars.rmdir()
    assert not setup.is_current()
    jars.mkdir()
    stamp.write_text(json.dumps({"made_from": "another lock file", "folders": [str(jars)]}))
    assert not setup.is_current()


def test_the_systems_certificates_are_used_unless_others_are_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "system.crt").touch()
    monkeypatch.setattr(setup, "SYSTEM_CERTIFICATES", tmp_path / "system.crt")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert setup.environment()["SSL_CERT_FILE"] == str(tmp_path / "system.crt")

    monkeypatch.setenv("SSL_CERT_FILE", "/mine.crt")
    assert setup.environment()["SSL_CERT_FILE"] == "/mine.crt"


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tickhouse"


def test_a_cache_folder_is_filled_once(empty_cache: Path) -> None:
    filled: list[Path] = []

    def fill(folder: Path) -> None:
        filled.append(folder)
        (folder / "a.jar").touch()

    for _ in range(2):
        assert cached_folder(empty_cache / "jars" / "x", fill) == empty_cache / "jars" / "x"
    assert len(filled) == 1
    assert [path.name for path in (empty_cache / "jars" / "x").iterdir()] == ["a.jar"]


def test_an_interrupted_fill_leaves_nothing(empty_cache: Path) -> None:
    def cut(folder: Path) -> None:
        (folder / "half.jar").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_folder(empty_cache / "jars" / "x", cut)
    assert list((empty_cache / "jars").iterdir()) == []


def test_maven_that_is_missing_is_named(empty_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pom = tmp_path / "pom.xml"
    pom.write_text("<project/>")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PrerequisiteMissing) as caught:
        fetch.jar_dir(pom)
    assert caught.value.next_command == "apt-get install maven"


def test_another_pom_is_another_folder(empty_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fetch, "run_maven", lambda _arguments, _progress: None)
    pom = tmp_path / "pom.xml"
    pom.write_text("<project>1</project>")
    first = fetch.jar_dir(pom)
    pom.write_text("<project>2</project>")

    assert fetch.jar_dir(pom) != first
    assert fetch.jar_dir(pom).parent == empty_cache / "jars"


def test_an_archive_keeps_executable_files(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(arguments: list[str], _progress: LineReporter) -> None:
        folder = next(one.split("=")[1] for one in arguments if one.startswith("-DoutputDirectory"))
        with zipfile.ZipFile(f"{folder}/a-1.zip", "w") as container:
            for name, mode in (("bin/run", 0o755), ("lib/a.jar", 0o644)):
                member = zipfile.ZipInfo(name)
                member.external_attr = mode << 16
                container.writestr(member, "x")

    monkeypatch.setattr(fetch, "run_maven", download)
    folder = fetch.archive_dir("g:a:1:zip")

    assert folder == empty_cache / "archives" / "a-1"
    assert {path.name: os.access(path, os.X_OK) for path in folder.rglob("*") if path.is_file()} == {
        "run": True,
        "a.jar": False,
    }


def test_classes_are_compiled_once_and_again_when_their_text_changes(empty_cache: Path, tmp_path: Path) -> None:
    source, libs = tmp_path / "A.java", empty_cache / "jars" / "none"
    libs.mkdir(parents=True)
    source.write_text("final class A {}")
    first = fetch.class_dir([source], libs)
    assert [path.name for path in first.iterdir()] == ["A.class"]
    assert fetch.class_dir([source], libs) == first

    source.write_text("final class A { int n; }")
    assert fetch.class_dir([source], libs) != first
    source.write_text("no java")
    with pytest.raises(ServiceNotReady, match=r"A\.java"):
        fetch.class_dir([source], libs)


def test_another_number_of_partitions_is_refused() -> None:
    wanted = {"crypto.trades": {"partitions": 3}, "crypto.ticks": {"partitions": 3}}

    _refuse_other_partitions(wanted, {"crypto.trades": 3, "unrelated": 1})
    with pytest.raises(ConfigurationError, match=r"crypto\.trades: expected 3 partitions, was 6"):
        _refuse_other_partitions(wanted, {"crypto.trades": 6})
