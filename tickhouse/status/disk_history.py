"""A small history of how large each store is, in `<home>/disk-history.jsonl`.

`tickhouse status` and the DAG `retention` add a sample when the newest one is an hour old. Of the
last two days every sample is kept, before that the newest one of each day, and nothing after 120
days: at most 49 + 120 lines.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tickhouse.retention.folder_size import folder_bytes

FILE = "disk-history.jsonl"
EVERY_S = 3600
DAY_S = 86_400
WHOLE_S = 2 * DAY_S
KEPT_DAYS = 120
# Folders of the home that are not a service's data.
FOLDERS = ("airflow", "data_docs", "lineage", "logs", "stream", "truth")


@dataclass(frozen=True)
class DiskSample:
    """Sizes at one moment.

    Args:
        at_s: Seconds since 1970.
        free: Free bytes of the disk of the home.
        stores: Bytes on the disk, by store or folder.
    """

    at_s: int
    free: int
    stores: dict[str, int] = field(default_factory=dict)


def record(home: Path, now_s: float | None = None) -> list[DiskSample]:
    """Add a sample when one is due, and return the history, oldest first.

    Two processes that record at once lose one of the two samples. On a full disk nothing is stored:
    the status has to be shown there as well.
    """
    now = int(time.time() if now_s is None else now_s)
    samples = read(home)
    if not home.is_dir() or (samples and 0 <= now - samples[-1].at_s < EVERY_S):
        return samples
    kept = thinned([*samples, measure(home, now)], now)
    with suppress(OSError):
        write(home, kept)
    return kept


def write(home: Path, samples: list[DiskSample]) -> None:
    """Replace the history."""
    partial = home / f".{FILE}.{os.getpid()}"
    try:
        partial.write_text("".join(json.dumps(asdict(sample)) + "\n" for sample in samples))
        partial.replace(home / FILE)
    finally:
        partial.unlink(missing_ok=True)


def read(home: Path) -> list[DiskSample]:
    """Return the history, oldest first; a line that does not parse is left out."""
    try:
        lines = (home / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    samples = []
    for line in lines:
        try:
            samples.append(DiskSample(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return sorted(samples, key=lambda sample: sample.at_s)


def measure(home: Path, now_s: int) -> DiskSample:
    """Return the sizes of the stores of this machine now."""
    data = home / "data"
    folders = sorted(data.iterdir()) if data.is_dir() else []
    sizes = {folder.name: folder_bytes(folder) for folder in folders}
    sizes |= {f"{name}/": folder_bytes(home / name) for name in FOLDERS}
    return DiskSample(now_s, shutil.disk_usage(home).free, {name: size for name, size in sizes.items() if size})


def thinned(samples: list[DiskSample], now_s: int) -> list[DiskSample]:
    """Return the samples that are kept (pure): all of two days, then the newest of each day.

    Samples of the future, from before the clock was set back, are left out.
    """
    kept: dict[tuple[str, int], DiskSample] = {}
    for sample in samples:
        age_s = now_s - sample.at_s
        if 0 <= age_s <= KEPT_DAYS * DAY_S:
            key = ("hour", sample.at_s) if age_s <= WHOLE_S else ("day", sample.at_s // DAY_S)
            kept[key] = sample
    return sorted(kept.values(), key=lambda sample: sample.at_s)
