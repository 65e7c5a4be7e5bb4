from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
import yaml

from common.errors import PrerequisiteMissing, ServiceNotReady
from common.settings import REPO
from stack.engine.debian_packages import package_folder, read, unpacked_packages, with_relative_path

PINS = REPO / "stack" / "rabbitmq" / "packages.yaml"
CONTENT = b"a package"


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One package with a script that names its folder, and programs of a Debian that has it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program(tmp_path, "dpkg", "echo amd64")
    program(tmp_path, "apt-get", 'for one; do last=$one; done; printf "a package" > "${last%%=*}_1_amd64.deb"')
    program(tmp_path, "dpkg-deb", 'mkdir -p "$3/usr/bin"; printf "ROOTDIR=/usr/lib/x\\n" > "$3/usr/bin/start"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return write(tmp_path, hashlib.sha256(CONTENT).hexdigest())


def program(folder: Path, name: str, script: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def write(folder: Path, sha256: str) -> Path:
    document = {
        "architecture": "amd64",
        "server": "server",
        "packages": {"server": {"version": "1:2.3-4", "sha256": sha256}},
        "moved": {"usr/bin/start": "/usr/lib/x"},
    }
    path = folder / "packages.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_packages_are_unpacked_once_and_their_paths_lead_into_the_cache(pins: Path) -> None:
    lines: list[str] = []

    folder = unpacked_packages(pins, lines.append)

    assert folder == package_folder(pins)
    assert "1:2.3-4" in folder.name
    assert (folder / "usr/bin/start").read_text() == f"ROOTDIR={folder}/usr/lib/x\n"
    assert unpacked_packages(pins, lines.append) == folder
    assert lines == ["unpacking server_1_amd64.deb"]


def test_another_package_than_the_pinned_one_is_refused(pins: Path, tmp_path: Path) -> None:
    changed = write(tmp_path, "0" * 64)

    with pytest.raises(ServiceNotReady, match="SHA-256 000"):
        unpacked_packages(changed)
    assert not package_folder(changed).exists()


def test_a_machine_without_apt_is_told_what_to_do(pins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path / "nowhere"))

    with pytest.raises(PrerequisiteMissing, match="no apt-get") as refused:
        unpacked_packages(pins)
    assert "Docker Compose" in refused.value.next_command


def test_another_architecture_is_refused(pins: Path, tmp_path: Path) -> None:
    program(tmp_path, "dpkg", "echo arm64")

    with pytest.raises(PrerequisiteMissing, match="this machine is arm64"):
        unpacked_packages(pins)


def test_package_lists_without_the_pin_are_refused(pins: Path, tmp_path: Path) -> None:
    program(tmp_path, "apt-get", "echo 'E: Version not found' >&2; exit 100")

    with pytest.raises(PrerequisiteMissing, match="Version not found") as refused:
        unpacked_packages(pins)
    assert refused.value.next_command.startswith("apt-get update")


def test_every_package_of_rabbitmq_is_pinned_by_hash() -> None:
    found = read(PINS)

    assert found.server in found.packages
    assert all(len(package.sha256) == 64 for package in found.packages.values())
    assert len({package.version for name, package in found.packages.items() if name.startswith("erlang-")}) == 1


def test_the_path_of_a_folder_becomes_relative_and_keeps_its_length() -> None:
    program = b"..bytes/usr/share/x35527../usr/share/x/ui.."

    changed = with_relative_path(program, "/usr/share/x")

    assert changed == b"..bytesusr/share/x/35527../usr/share/x/ui.."
    assert len(changed) == len(program)


@pytest.mark.parametrize("program", [b"none", b"/usr/share/x /usr/share/x", b"/usr/share/x/ui"])
def test_a_program_without_the_one_path_is_refused(program: bytes) -> None:
    with pytest.raises(ServiceNotReady, match="Expected /usr/share/x once"):
        with_relative_path(program, "/usr/share/x")
