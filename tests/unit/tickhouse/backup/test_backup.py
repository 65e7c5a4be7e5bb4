"""Backup and restore of a home without servers: crash safety, damage, what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from common.errors import BackupUnusable, ConfigurationError
from common.settings import load_settings
from stack.engine.home_folder import RESTORE_MARK
from stack.engine.lifecycle import up
from tests.runbook.following import FollowedPage
from tickhouse.backup import copying
from tickhouse.backup import save as saving
from tickhouse.backup.copying import BLOCK, hash_of
from tickhouse.backup.manifest import FILES, MANIFEST, BackupManifest, partial, read_manifest
from tickhouse.backup.restore import check, restore
from tickhouse.backup.save import JOURNAL, refuse_target, save
from tickhouse.cli import app

runner = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home whose services wrote data, and that none of them uses now."""
    folder = tmp_path / "a-home"
    monkeypatch.setenv("TICKHOUSE_HOME", str(folder))
    # It waits for the disk of the whole machine; no test cuts the power.
    monkeypatch.setattr(os, "sync", lambda: None)
    fill(folder)
    return folder


def fill(folder: Path) -> None:
    files = {
        "secrets.env": "POSTGRES_SUPERUSER_PASSWORD=0123456789abcdef\n",
        "market.json": '{"kind": "real"}',
        "data/kafka/log/crypto.trades-0/0.log": "trades" * 5000,
        "data/postgres/PG_VERSION": "16\n",
        "data/postgres/postmaster.pid": "4711\n",
        "data/a_new_server/table": "rows",
        "stream/checkpoints/candles/offsets/7": "v1",
        "truth/exchange.json": "{}",
        "logs/kafka.log": "a log",
        "run/kafka.json": "{}",
        "conf/redis/redis.conf": "requirepass x",
        "airflow/logs/task.log": "a log",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "data" / "postgres" / "pg_notify").mkdir()
    (folder / "data" / "postgres").chmod(0o700)
    (folder / "stream" / "newest").symlink_to("checkpoints/candles")
    with (folder / "data" / "kafka" / "log" / "0.index").open("wb") as index:
        index.write(b"begin")
        index.truncate(20 * BLOCK + 7)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "data" / "kafka" / "socket"))


def make(folder: Path, **options: Any) -> BackupManifest:
    return save(load_settings(), refuse_target(folder), lambda *_: None, **options)


def tree(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return mode and content of everything below a folder, by path."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[str(path.relative_to(folder))] = (mode, os.readlink(path))
        elif path.is_dir() or path.is_file():
            found[str(path.relative_to(folder))] = (mode, path.read_bytes() if path.is_file() else "folder")
    return found


def data_of(home: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return what a backup of `home` has to bring back."""
    unsaved = ("logs", "run", "conf", "airflow/logs", "data/postgres/postmaster.pid", ".tickhouse-home")
    return {path: entry for path, entry in tree(home).items() if not path.startswith(unsaved)}


def empty(home: Path) -> None:
    for path in home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_restored_home_has_every_file_with_its_mode_and_time(home: Path, tmp_path: Path) -> None:
    os.utime(home / "truth" / "exchange.json", (1_700_000_000, 1_700_000_000))
    before = data_of(home)
    made = make(tmp_path / "backup")
    empty(home)

    restore(tmp_path / "backup", read_manifest(tmp_path / "backup"), lambda _: None)

    assert data_of(home) == before
    assert (home / "truth" / "exchange.json").stat().st_mtime == 1_700_000_000
    assert {"data/kafka", "data/postgres", "data/a_new_server", "stream", "truth", "secrets.env"} <= {
        part.name for part in made.parts
    }
    assert made.left_out.keys() >= {"logs", "conf", "run", "airflow/logs"}
    assert not (home / RESTORE_MARK).exists()


def test_holes_of_files_take_no_space(home: Path, tmp_path: Path) -> None:
    make(tmp_path / "backup")

    index = (tmp_path / "backup" / "home" / "data" / "kafka" / "log" / "0.index").stat()
    assert index.st_size == 20 * BLOCK + 7
    assert index.st_blocks * 512 <= 2 * BLOCK


def test_nobody_else_can_read_a_backup(home: Path, tmp_path: Path) -> None:
    make(tmp_path / "backup")

    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "backup" / "home" / "secrets.env").stat().st_mode) == 0o600


def test_a_backup_that_was_killed_is_not_restored_and_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backup"
    kill_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        make(target)
    with (partial(target) / JOURNAL).open("a") as journal:
        journal.write('{"version": [1, 2')  # cut off by a power cut

    assert not target.exists()
    for name in (target, partial(target)):
        with pytest.raises(BackupUnusable, match="was interrupted") as refused:
            read_manifest(name)
        assert f"tickhouse backup {target} " in refused.value.next_command

    copied = record_copies(monkeypatch)
    (home / "truth" / "exchange.json").write_text('{"changed": 1}')
    (partial(target) / "home" / "stale").write_text("an earlier try copied it, and the home lacks it now")
    before = data_of(home)
    make(target)
    assert "data/a_new_server/table" not in copied  # the first try has it
    assert "truth/exchange.json" in copied
    assert not (target / "home" / "stale").exists()
    assert not (target / JOURNAL).exists()
    empty(home)
    restore(target, read_manifest(target), lambda _: None)
    assert data_of(home) == before


def kill_after(files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [files]
    copy = saving.copy_file

    def killed(source: Path, target: Path) -> str:
        if not left[0]:
            target.write_bytes(b"half")
            raise KeyboardInterrupt
        left[0] -= 1
        return copy(source, target)

    monkeypatch.setattr(saving, "copy_file", killed)


def record_copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    copied: list[str] = []
    copy = copying.copy_file

    def recorded(source: Path, target: Path) -> str:
        copied.append(str(target).partition(".partial/home/")[2])
        return copy(source, target)

    monkeypatch.setattr(saving, "copy_file", recorded)
    return copied


def test_a_copy_that_did_not_reach_the_disk_is_copied_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backup"
    with monkeypatch.context() as patch:
        patch.setattr(saving, "_complete", lambda *_: None)
        make(target)
    lost = partial(target) / "home" / "data" / "postgres" / "PG_VERSION"
    lost.write_bytes(b"\0\0\0")

    make(target)

    check(target, read_manifest(target), lambda _: None)
    assert (target / "home" / "data" / "postgres" / "PG_VERSION").read_text() == "16\n"


def test_a_file_that_changes_meanwhile_is_no_backup(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = saving.copy_file

    def written_meanwhile(source: Path, target: Path) -> str:
        digest = copy(source, target)
        if source.name == "0.log":
            source.write_text("more trades")
        return digest

    monkeypatch.setattr(saving, "copy_file", written_meanwhile)

    with pytest.raises(ConfigurationError, match="changed while it was copied"):
        make(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_backup_is_found_by_check_and_starts_nothing(home: Path, tmp_path: Path, damage: str) -> None:
    make(tmp_path / "backup")
    manifest = read_manifest(tmp_path / "backup")
    file = tmp_path / "backup" / "home" / "data" / "kafka" / "log" / "crypto.trades-0" / "0.log"
    if damage == "changed":
        file.write_text(file.read_text().replace("t", "T", 1))
    else:
        file.unlink()
    empty(home)

    for look in (check, restore):
        with pytest.raises(BackupUnusable, match=r"crypto\.trades-0/0\.log is (not as it was saved|missing)"):
            look(tmp_path / "backup", manifest, lambda _: None)
    with pytest.raises(ConfigurationError, match=r"restore into .* is not complete"):
        up(services=["redis"])


def test_a_list_of_files_that_was_edited_is_refused(home: Path, tmp_path: Path) -> None:
    make(tmp_path / "backup")
    with (tmp_path / "backup" / "files.jsonl").open("a") as file:
        file.write('{"path": "more", "kind": "folder", "mode": 448}\n')
    empty(home)

    with pytest.raises(BackupUnusable, match=r"files\.jsonl is not the file"):
        restore(tmp_path / "backup", read_manifest(tmp_path / "backup"), lambda _: None)


def test_an_interrupted_restore_goes_on_with_the_same_backup_only(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = data_of(home)
    make(tmp_path / "backup")
    make(tmp_path / "other")
    empty(home)
    begun: list[str] = []

    def killed(part: str) -> None:
        begun.append(part)
        if len(begun) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path / "backup", read_manifest(tmp_path / "backup"), killed)

    with pytest.raises(ConfigurationError, match="unfinished restore of another backup"):
        restore(tmp_path / "other", read_manifest(tmp_path / "other"), lambda _: None)
    with pytest.raises(ConfigurationError, match="is not complete"):
        make(tmp_path / "third")
    restore(tmp_path / "backup", read_manifest(tmp_path / "backup"), lambda _: None)
    assert data_of(home) == before


def test_a_home_with_anything_in_it_is_not_overwritten(home: Path, tmp_path: Path) -> None:
    make(tmp_path / "backup")
    before = tree(home)

    with pytest.raises(ConfigurationError, match="is not empty"):
        restore(tmp_path / "backup", read_manifest(tmp_path / "backup"), lambda _: None)
    assert tree(home) == before


def test_secrets_that_were_left_out_must_be_the_same_ones(home: Path, tmp_path: Path) -> None:
    before = data_of(home)
    made = make(tmp_path / "backup", with_secrets=False)
    kept, wrong = tmp_path / "kept.env", tmp_path / "wrong.env"
    shutil.copy(home / "secrets.env", kept)
    wrong.write_text("POSTGRES_SUPERUSER_PASSWORD=another\n")
    password = b"0123456789abcdef"
    holders = [path for path in (tmp_path / "backup").rglob("*") if path.is_file() and password in path.read_bytes()]
    empty(home)

    assert holders == []
    assert not made.has_secrets
    for given, reason in ((None, "without secrets.env"), (wrong, "is not the secrets.env of this backup")):
        with pytest.raises(ConfigurationError, match=reason):
            restore(tmp_path / "backup", made, lambda _: None, given)
    restore(tmp_path / "backup", made, lambda _: None, kept)
    assert {path: content for path, (_, content) in data_of(home).items()} == {
        path: content for path, (_, content) in before.items()
    }
    assert stat.S_IMODE((home / "secrets.env").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2 this version does not know"),
        ({"product": {"version": "9.0.0", "commit": "", "migration": "001_market.sql"}}, r"made by Tickhouse 9\.0\.0"),
        ({"product": {"version": "0.1.0", "commit": "", "migration": "999_later.sql"}}, r"migration 999_later\.sql"),
    ],
)
def test_a_backup_of_a_newer_tickhouse_is_refused(
    home: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    make(tmp_path / "backup")
    path = tmp_path / "backup" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    empty(home)

    result = runner.invoke(app, ["restore", str(tmp_path / "backup"), "--yes"])

    assert result.exit_code == BackupUnusable.exit_code
    assert re.search(reason, result.stderr)
    assert not list(home.iterdir())


def test_what_is_no_backup_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupUnusable, match=r"it has no manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text('{"format": 1}')
    with pytest.raises(BackupUnusable, match="is damaged"):
        read_manifest(tmp_path)


def test_targets_that_hold_something_or_lie_in_the_home_are_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    make(tmp_path / "backup")

    for folder, reason in (
        (tmp_path / "full", "holds something else"),
        (tmp_path / "backup", "holds a complete backup"),
        (home / "backup", "is inside the home"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            refuse_target(folder)


def test_the_commands_say_that_secrets_are_in_clear_and_ask_before_they_write(home: Path, tmp_path: Path) -> None:
    saved = runner.invoke(app, ["backup", str(tmp_path / "backup"), "--json"])
    document = json.loads(saved.stdout)
    empty(home)
    unasked = runner.invoke(app, ["restore", str(tmp_path / "backup")])
    checked = runner.invoke(app, ["restore", str(tmp_path / "backup"), "--check"])
    restored = runner.invoke(app, ["restore", str(tmp_path / "backup"), "--yes", "--json"])

    assert (saved.exit_code, unasked.exit_code, checked.exit_code, restored.exit_code) == (0, 2, 0, 0)
    assert "in clear" in " ".join(saved.stderr.split())
    assert document["folder"] == str(tmp_path / "backup")
    assert document["has_secrets"] is True
    assert document["bytes"] == sum(part["bytes"] for part in document["parts"]) > 0
    assert "0123456789abcdef" not in saved.stdout + saved.stderr + checked.stdout
    assert "add --yes" in unasked.stderr
    assert json.loads(restored.stdout)["home"] == str(home)


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "data/../../outside", "stream/newest/through_a_link"])
def test_a_path_that_leads_out_of_the_home_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Someone who gives us a backup decides what is in the home, and nothing beside it."""
    target = tmp_path / "forged"
    make(target)
    files = target / FILES
    line = json.loads(files.read_text().splitlines()[0]) | {"path": path, "kind": "folder"}
    files.write_text(files.read_text() + json.dumps(line) + "\n")
    document = json.loads((target / MANIFEST).read_text())
    (target / MANIFEST).write_text(json.dumps(document | {"files_sha256": hash_of(files)}))
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path / "new"))

    with pytest.raises(BackupUnusable, match="which is outside a home"):
        restore(target, read_manifest(target), lambda _: None)

    assert not (tmp_path / "outside").exists()


@pytest.mark.runbook("backup-unusable")
def test_another_backup_is_used_where_one_is_damaged(followed: FollowedPage, home: Path, tmp_path: Path) -> None:
    damaged, other = tmp_path / "damaged", tmp_path / "other"
    make(damaged)
    make(other)
    before = tree(home / "data")
    shutil.rmtree(home)
    (damaged / "home" / "data" / "a_new_server" / "table").write_text("r0ws")
    followed.values |= {"FOLDER": str(damaged), "OTHER": str(other)}

    found = followed.check(codes={"tickhouse restore": BackupUnusable.exit_code})
    followed.repair()

    assert "data/a_new_server/table is not as it was saved" in found
    assert tree(home / "data").keys() >= before.keys() - {"postgres/postmaster.pid", "kafka/socket"}
    assert (home / "data" / "a_new_server" / "table").read_text() == "rows"
