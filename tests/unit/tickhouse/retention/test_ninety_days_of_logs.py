"""Ninety days of log files under the declared retention: each file and folder has a bound."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tickhouse.retention.declaration import FilesKept, load
from tickhouse.retention.folders import CUT_KEEPS, FolderFiles

MB = 1 << 20
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 90
# What one file gets per day, with room above what was measured: a task that never ends writes
# 2.7 MB per day (docs/how-to/retention.md).
PER_DAY = 4 * MB
# New files per day: the runs of all DAGs, each with one short log.
NEW_PER_DAY, NEW_BYTES = 20, 4096


def append(path: Path, size: int, at: datetime) -> None:
    """Lengthen a file without writing the bytes, and set the time of its last write."""
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + size)
    os.utime(path, (at.timestamp(), at.timestamp()))


def live(root: Path, retention: FolderFiles) -> tuple[list[int], list[int]]:
    """Play ninety days; return the largest file and the whole folder after each night."""
    largest, total = [], []
    for day in range(DAYS):
        now = START + timedelta(days=day)
        append(root / "endless.log", PER_DAY, now)
        for number in range(NEW_PER_DAY):
            append(root / f"{day}-{number}.log", NEW_BYTES, now)
        for step in retention.plan(now + timedelta(hours=3)).steps:
            retention.do(step, now + timedelta(hours=3))
        sizes = [path.stat().st_size for path in root.iterdir()]
        largest.append(max(sizes))
        total.append(sum(sizes))
    return largest, total


@pytest.mark.parametrize("kept", [one for one in load().files if one.days < DAYS], ids=lambda kept: kept.name)
def test_files_of_ninety_days_stay_within_their_bound(tmp_path: Path, kept: FilesKept) -> None:
    root = tmp_path / kept.path
    root.mkdir(parents=True)

    largest, total = live(root, FolderFiles(tmp_path, kept))

    others = (kept.days + 1) * NEW_PER_DAY * NEW_BYTES
    if kept.most_mb is not None:
        assert max(largest) <= kept.most_mb * MB + PER_DAY  # what came since the night before
        assert max(total) <= max(largest) + others
        assert min(largest[kept.days :]) >= CUT_KEEPS  # the end of a file that is in use is never removed
    else:
        assert max(total) <= DAYS * PER_DAY + others
    assert total[-1] <= max(total[: DAYS // 2]) + (PER_DAY * DAYS if kept.most_mb is None else 0)
    assert len(list(root.iterdir())) <= 1 + (kept.days + 1) * NEW_PER_DAY


def test_a_file_that_a_program_never_closes_has_a_bound_wherever_there_can_be_one() -> None:
    # Notifications rotate themselves, lineage begins a file each month, and nothing is appended to
    # scratch files and old checkpoints.
    unbounded = {one.name for one in load().files if one.most_mb is None}

    assert unbounded == {"notifications", "lineage", "scratch", "old checkpoints"}
