"""Retention of the lake: old days of bronze whose silver is published, and old work branches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from lakefs import Branch, Repository

from common.clients.lakefs import INGEST, MAIN, lake_errors, repository
from common.days import ONE_DAY, day_of, midnight
from common.settings import Settings
from tickhouse.lake import audit_verdict
from tickhouse.lake.bronze_removal import remove_day
from tickhouse.retention.declaration import BranchesKept
from tickhouse.retention.folder_size import folder_bytes
from tickhouse.retention.policy import Covers, Step, StorePlan, days_text, store_plan

WORK = "etl-"
BRONZE = "bronze/trades/"
SILVER = "silver/trades/"


@dataclass(frozen=True)
class BronzeDays:
    """Retention of bronze: remove a day when `main` contains all of it and its files are old."""

    settings: Settings
    days: int
    store: str = "lake"

    @property
    def declared(self) -> str:
        """Return in words how long a day is kept."""
        return f"a day of bronze, {days_text(self.days)} after its last file came, once its silver is published"

    def plan(self, now: datetime) -> StorePlan:
        """Return the days to remove.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        horizon = now - timedelta(days=self.days)
        with lake_errors(self.settings):
            lake = repository(self.settings)
            old = [day for day in days_below(lake, INGEST, BRONZE) if midnight(day) + ONE_DAY <= horizon]
            files = {day: files_of(lake, day) for day in old}
            published = set(days_below(lake, MAIN, SILVER)) - unpublished_days(lake) if old else set()
        due = [day for day in old if files[day].newest < horizon]
        notes = [f"{day} is old but not published: it stays" for day in due if day not in published]
        steps = [_removal_of(day, files[day], now) for day in due if day in published]
        size = folder_bytes(self.settings.home / "data" / "lakefs")
        return store_plan(self, steps, bytes=size, notes=tuple(notes))

    def do(self, step: Step, now: datetime) -> None:
        """Remove one day from `ingest`; earlier commits contain it as long as they are kept.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        remove_day(self.settings, date.fromisoformat(step.item))


class DayFiles(NamedTuple):
    """Files of one day of bronze: time of the newest, number, bytes."""

    newest: datetime
    files: int
    bytes: int


def files_of(lake: Repository, day: date) -> DayFiles:
    """Return number, bytes and newest time of the trade files of a day on `ingest`."""
    files = list(lake.ref(INGEST).objects(prefix=f"{BRONZE}date={day}/"))
    newest_s = max((getattr(file, "mtime", 0) or 0 for file in files), default=0)
    size = sum(getattr(file, "size_bytes", 0) or 0 for file in files)
    return DayFiles(datetime.fromtimestamp(newest_s, UTC), len(files), size)


def days_below(lake: Repository, ref: str, prefix: str) -> list[date]:
    """Return the days that have a folder directly below a prefix, oldest first."""
    folders = lake.ref(ref).objects(prefix=prefix, delimiter="/")
    return sorted({day for folder in folders if (day := day_of(folder.path))})


def unpublished_days(lake: Repository) -> set[date]:
    """Return the days with files on `ingest` that are not on main, and so not in silver."""
    changes = lake.ref(MAIN).diff(INGEST, prefix=BRONZE, type="two_dot")
    uncommitted = lake.branch(INGEST).uncommitted(prefix=BRONZE)
    paths = [change.path for change in changes if change.type != "removed"]
    paths += [change.path for change in uncommitted]
    return {day for path in paths if (day := day_of(path))}


def _removal_of(day: date, files: DayFiles, now: datetime) -> Step:
    why = f"the last of its {files.files} files came {files.newest:%Y-%m-%d}, its silver is published"
    covers = Covers(midnight(day), midnight(day) + timedelta(days=1), now)
    return Step("remove", str(day), why, files.bytes, covers=covers)


@dataclass(frozen=True)
class WorkBranches:
    """Retention of the nightly batch's branches; commits on main or under a tag stay."""

    settings: Settings
    kept: BranchesKept
    store: str = "branches"

    @property
    def declared(self) -> str:
        """Return in words how long a branch is kept."""
        merged, failed = days_text(self.kept.merged_days), days_text(self.kept.failed_days)
        return f"a branch {WORK}*, {merged} after its last commit when it is merged, else {failed}"

    def plan(self, now: datetime) -> StorePlan:
        """Return the branches to delete.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        with lake_errors(self.settings):
            lake = repository(self.settings)
            merged = merged_commits(lake)
            branches = list(lake.branches(prefix=WORK))
            steps = [step for branch in branches if (step := self._step_if_due(branch, merged, now))]
        return store_plan(self, steps, notes=(f"{len(branches)} branches",) if branches else ())

    def _step_if_due(self, branch: Branch, merged: set[str], now: datetime) -> Step | None:
        head = branch.get_commit()  # type: ignore[no-untyped-call]
        made = datetime.fromtimestamp(head.creation_date, UTC)
        is_merged = head.id in merged
        if made >= now - timedelta(days=self.kept.merged_days if is_merged else self.kept.failed_days):
            return None
        has_failed = (head.metadata or {}).get(audit_verdict.OK) == "false"
        state = "its audit failed" if has_failed else "never merged"
        return Step("remove", branch.id, f"{'merged' if is_merged else state}, last commit {made:%Y-%m-%d}")

    def do(self, step: Step, now: datetime) -> None:
        """Delete one branch; a branch that is gone already is no error.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        with lake_errors(self.settings):
            lake = repository(self.settings)
            if any(branch.id == step.item for branch in lake.branches(prefix=step.item)):
                lake.branch(step.item).delete()


def merged_commits(lake: Repository) -> set[str]:
    """Return every commit that main has merged."""
    return {parent for made in lake.ref(MAIN).log(first_parent=True) for parent in made.parents[1:]}
