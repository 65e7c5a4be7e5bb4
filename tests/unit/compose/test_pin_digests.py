"""Digests: which images get one, and what happens to the files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from common.settings import REPO
from compose import pin_digests
from compose.pin_digests import FILES, main, open_images, pinned

DIGEST = "sha256:" + "ab" * 32
COMPOSE = """\
x-our-image: &our-image
  image: tickhouse:0.1.0
services:
  kafka:
    image: apache/kafka:4.3.1
  redis:
    image: redis:8.2.2-alpine  # a comment
  exporter:
    image: quay.io/some/exporter:v0.11.1@sha256:cd
  ours:
    <<: *our-image
"""
DOCKERFILE = "FROM apache/kafka:4.3.1 AS connect\nCOPY --from=build /a /b\nFROM connect AS other\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "compose").mkdir()
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    (tmp_path / "compose" / "Dockerfile").write_text(DOCKERFILE)
    monkeypatch.setattr(pin_digests, "REPO", tmp_path)
    return tmp_path


def docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program `docker` first on the path."""
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_every_tag_gets_the_digest_that_the_registry_has(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker(tmp_path, monkeypatch, f'[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo {DIGEST}')

    assert main() == 0

    composed = (checkout / "docker-compose.yml").read_text()
    assert f"    image: apache/kafka:4.3.1@{DIGEST}\n" in composed
    assert f"    image: redis:8.2.2-alpine@{DIGEST}  # a comment\n" in composed
    assert "exporter:v0.11.1@sha256:cd\n" in composed
    assert "  image: tickhouse:0.1.0\n" in composed
    dockerfile = (checkout / "compose" / "Dockerfile").read_text()
    assert dockerfile == DOCKERFILE.replace("4.3.1", f"4.3.1@{DIGEST}")
    assert capsys.readouterr().out.splitlines() == [f"apache/kafka:4.3.1@{DIGEST}", f"redis:8.2.2-alpine@{DIGEST}"]


def test_nothing_is_written_while_one_tag_is_unknown(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker(tmp_path, monkeypatch, f'case "$4" in redis*) echo "redis: not found" >&2; exit 1;; esac; echo {DIGEST}')

    assert main() == 1

    assert (checkout / "docker-compose.yml").read_text() == COMPOSE
    assert capsys.readouterr().err == "redis:8.2.2-alpine: redis: not found\n"


def test_an_answer_that_is_no_digest_is_refused(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker(tmp_path, monkeypatch, "echo '<no value>'")

    assert main() == 1
    assert "expected a digest, was '<no value>'" in capsys.readouterr().err


def test_without_docker_it_says_so(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")

    assert main() == 1
    assert "docker" in capsys.readouterr().err


def test_all_official_images_of_our_files_are_found() -> None:
    texts = [(REPO / name).read_text() for name in FILES]
    found = set().union(*(open_images(pinned(text, {})) for text in texts))
    pins = {line.split()[1] for text in texts for line in text.splitlines() if line.strip().startswith("image: ")}
    bases = {line.split()[1] for text in texts for line in text.splitlines() if line.startswith("FROM ")}

    official = {image for image in pins | bases if image != "&our-image" and not image.startswith("tickhouse")}
    assert found == {image for image in official if "@" not in image}
    assert {image.partition(":")[0] for image in official} >= {"apache/kafka", "postgres", "python", "golang"}
