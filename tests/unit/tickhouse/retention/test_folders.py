from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tickhouse.retention.declaration import FilesKept
from tickhouse.retention.folders import CUT_KEEPS, FolderFiles, ReplayedFiles, cut

NOW = datetime(2026, 8, 15, tzinfo=UTC)
KEPT = FilesKept(name="task logs", path="airflow/logs", days=14, most_mb=2)


def write(path: Path, size: int, days_ago: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((b"line\n" * (size // 5 + 1))[:size])
    written = (NOW - timedelta(days=days_ago)).timestamp()
    os.utime(path, (written, written))
    return path


def test_old_files_are_removed_with_their_folders_and_a_long_one_is_truncated(tmp_path: Path) -> None:
    logs = tmp_path / "airflow" / "logs"
    old = write(logs / "dag_id=a" / "run_id=1" / "attempt=1.log", 100, 15)
    young = write(logs / "dag_id=a" / "run_id=2" / "attempt=1.log", 100, 13)
    long = write(logs / "dag_id=stream" / "attempt=1.log", 3 << 20, 0)
    policy = FolderFiles(tmp_path, KEPT)

    plan = policy.plan(NOW)
    assert plan.bytes == 200 + (3 << 20)
    assert [(step.item, step.bytes) for step in plan.steps] == [
        ("", 100),
        ("dag_id=stream/attempt=1.log", (3 << 20) - CUT_KEEPS),
    ]
    for step in plan.steps:
        policy.do(step, NOW)

    assert not old.parent.exists()
    assert young.exists()
    assert CUT_KEEPS - 5 <= long.stat().st_size <= CUT_KEEPS
    assert long.read_bytes().startswith(b"line\n")
    assert policy.plan(NOW).steps == ()


def test_a_program_continues_at_the_end_of_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "attempt=1.log"
    with path.open("ab", buffering=0) as program:
        program.write(b"old\n" * 100)
        cut(path, 10)
        program.write(b"new\n")
    assert path.read_bytes() == b"old\nold\nnew\n"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    plan = FolderFiles(tmp_path, KEPT).plan(NOW)
    assert (plan.bytes, plan.steps) == (0, ())


def test_entries_of_old_replays_are_removed(tmp_path: Path) -> None:
    record = tmp_path / "truth" / "files.jsonl"
    record.parent.mkdir()
    entries = [{"path": f"/{days}", "at_s": (NOW - timedelta(days=days)).timestamp()} for days in (40, 31, 29, 0)]
    record.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    policy = ReplayedFiles(tmp_path, 30)

    (step,) = policy.plan(NOW).steps
    assert step.rows == 2
    policy.do(step, NOW)

    assert [json.loads(line)["path"] for line in record.read_text().splitlines()] == ["/29", "/0"]
    assert policy.plan(NOW).steps == ()


def test_an_entry_without_a_time_is_as_old_as_the_list(tmp_path: Path) -> None:
    record = write(tmp_path / "truth" / "files.jsonl", 0, 31)
    record.write_text('{"path": "/a"}\n')
    assert ReplayedFiles(tmp_path, 30).plan(NOW).steps == ()  # it was written just now
    os.utime(record, (0, 0))
    assert ReplayedFiles(tmp_path, 30).plan(NOW).steps[0].rows == 1
