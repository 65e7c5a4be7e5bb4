"""Retention of files below the home: logs, audit reports, the list of replayed files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lakefs import Repository
from lakefs.reference import generate_listing

from common.clients.lakefs import MAIN, client, lake_errors, repository
from common.settings import Settings
from stack.data_docs import report_site
from tickhouse.lake import audit_verdict
from tickhouse.retention.declaration import FilesKept
from tickhouse.retention.policy import Step, StorePlan, days_text, store_plan

_MB = 1 << 20
# Bytes that are kept at the end of a file that is truncated while a program writes to it.
CUT_KEEPS = 1 << 20


@dataclass(frozen=True)
class FolderFiles:
    """Retention of the files of one folder: remove old ones, truncate a long one that is in use.

    Args:
        home: The data folder of the stack.
        kept: The declaration.
    """

    home: Path
    kept: FilesKept

    @property
    def store(self) -> str:
        """Return the name of the folder."""
        return self.kept.name

    @property
    def declared(self) -> str:
        """Return in words how long a file is kept."""
        most = f", and none longer than {self.kept.most_mb} MB" if self.kept.most_mb else ""
        return f"a file, {days_text(self.kept.days)} after its last write{most}"

    @property
    def _root(self) -> Path:
        return self.home / self.kept.path

    def plan(self, now: datetime) -> StorePlan:
        """Return one step for all old files, and one step per file that is too long."""
        total = old_bytes = old_files = 0
        cuts = []
        for path, size, written in _files(self._root):
            total += size
            if written < now - timedelta(days=self.kept.days):
                old_files, old_bytes = old_files + 1, old_bytes + size
            elif self.kept.most_mb and size > self.kept.most_mb * _MB:
                name = str(path.relative_to(self._root))
                cuts.append(Step("remove", name, f"longer than {self.kept.most_mb} MB", size - CUT_KEEPS))
        why = f"{old_files} files were not written to for {days_text(self.kept.days)}"
        steps = [Step("remove", "", why, old_bytes, old_files)] if old_files else []
        return store_plan(self, [*steps, *cuts], bytes=total)

    def do(self, step: Step, now: datetime) -> None:
        """Delete the old files, or cut one."""
        if step.item:
            cut(self._root / step.item, CUT_KEEPS)
            return
        horizon = now - timedelta(days=self.kept.days)
        for path, _, written in list(_files(self._root)):
            if written < horizon:
                path.unlink(missing_ok=True)
        _remove_empty(self._root)


def _files(root: Path) -> Iterator[tuple[Path, int, datetime]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with suppress(FileNotFoundError):
                stat = path.lstat()
                yield path, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)


def _remove_empty(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        if Path(folder) != root:
            with suppress(OSError):  # it is not empty, or another process removed it
                Path(folder).rmdir()


def cut(path: Path, keeps: int) -> None:
    """Truncate a file that a program appends to; keep the whole lines of its last `keeps` bytes.

    The program continues at the new end, because it opened the file for appending. A line that it
    writes at the same moment may be lost.
    """
    with suppress(FileNotFoundError), path.open("r+b") as file:
        file.seek(max(0, path.stat().st_size - keeps))
        end = file.read()
        file.truncate(0)
        with path.open("ab") as fresh:
            fresh.write(end[end.find(b"\n") + 1 :])


@dataclass(frozen=True)
class AuditPages:
    """Retention of the Data Docs: remove reports that are old and that no tag or branch links."""

    settings: Settings
    days: int
    store: str = "data_docs"

    @property
    def declared(self) -> str:
        """Return in words how long a page is kept."""
        return f"a report, {days_text(self.days)} after its audit; if a tag or branch links to it, as long as that"

    def plan(self, now: datetime) -> StorePlan:
        """Return the reports to remove.

        Raises:
            StoreUnavailable: The lake does not answer, so it is not known which reports are linked.
        """
        root = report_site.folder(self.settings)
        sites = {name: datetime.fromisoformat(report["at"]) for name, report in report_site.reports(root).items()}
        old = sorted(name for name, at in sites.items() if at < now - timedelta(days=self.days))
        linked = linked_reports(self.settings) if old else set()
        steps = [
            Step("remove", name, f"audited {sites[name]:%Y-%m-%d}, nothing links to it", _size(root / name))
            for name in old
            if name not in linked
        ]
        steps += [Step("remove", one.name, "an audit that never ended", _size(one)) for one in _unfinished(root, now)]
        return store_plan(self, steps, bytes=_size(root))

    def do(self, step: Step, now: datetime) -> None:
        """Remove one report and rewrite the index."""
        root = report_site.folder(self.settings)
        # The index lists the reports that exist, so the report is removed before its folder.
        (root / step.item / report_site.REPORT).unlink(missing_ok=True)
        report_site.write_index(root)
        shutil.rmtree(root / step.item, ignore_errors=True)


def _unfinished(root: Path, now: datetime) -> list[Path]:
    """Return the folders of audits that were killed: a day old, and still without a report."""
    found = [path for path in root.iterdir() if path.is_dir()] if root.exists() else []
    return sorted(
        path
        for path in found
        if path.name not in report_site.NO_AUDITS
        and not (path / report_site.REPORT).exists()
        and datetime.fromtimestamp(path.stat().st_mtime, UTC) < now - timedelta(days=1)
    )


def linked_reports(settings: Settings) -> set[str]:
    """Return the names of the reports that the commits of tags and branches link to.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    with lake_errors(settings):
        lake, api = repository(settings), client(settings).sdk_client
        # Nearly every tag names a merge of main, so one listing replaces one request per commit.
        published = {made.id: made.metadata or {} for made in lake.ref(MAIN).log(first_parent=True)}
        heads = {
            ref.commit_id
            for list_refs in (api.tags_api.list_tags, api.branches_api.list_branches)
            for ref in generate_listing(list_refs, settings.lake_repository)
        }
        linking = [metadata for head in heads for metadata in _metadata_at(lake, head, published)]
    urls = [str(metadata.get(audit_verdict.REPORT, "")) for metadata in linking]
    prefix = f"{settings.data_docs_url}/"
    return {url.removeprefix(prefix).partition("/")[0] for url in urls if url.startswith(prefix)}


def _metadata_at(lake: Repository, head: str, published: Mapping[str, Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the metadata of a head, and of every verdict at the end of a work branch.

    A failed verdict stops the branch for as long as it is there, whatever was audited after it.
    """
    if head in published:
        return [published[head]]
    verdicts = audit_verdict.read_verdicts(lake, head)[0]
    return [metadata for _, metadata in verdicts] or [lake.ref(head).get_commit().metadata or {}]


def _size(root: Path) -> int:
    return sum(size for _, size, _ in _files(root))


@dataclass(frozen=True)
class ReplayedFiles:
    """Retention of `<home>/truth/files.jsonl`: remove the entries of old replays, not the files.

    Without an entry `tickhouse reconcile` takes Kafka as the truth of these ids, as for a live
    stream.
    """

    home: Path
    days: int
    store: str = "truth"

    @property
    def declared(self) -> str:
        """Return in words how long an entry is kept."""
        return f"an entry, {days_text(self.days)} after its replay"

    @property
    def _file(self) -> Path:
        return self.home / "truth" / "files.jsonl"

    def plan(self, now: datetime) -> StorePlan:
        """Return one step if there are old entries."""
        lines = self._lines()
        old = [line for line in lines if self._is_old(line, now)]
        why = f"{len(old)} files were replayed long ago"
        steps = [Step("remove", "files.jsonl", why, sum(map(len, old)), len(old))] if old else []
        return store_plan(self, steps, bytes=sum(map(len, lines)))

    def do(self, step: Step, now: datetime) -> None:
        """Rewrite the list without its old entries; a reader sees the old or the new list."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text("".join(line for line in self._lines() if not self._is_old(line, now)), encoding="utf-8")
        fresh.replace(self._file)

    def _lines(self) -> list[str]:
        return self._file.read_text(encoding="utf-8").splitlines(keepends=True) if self._file.exists() else []

    def _is_old(self, line: str, now: datetime) -> bool:
        # Entries of earlier versions have no time; the last write of the list is used instead.
        written_s = self._file.stat().st_mtime
        at_s = json.loads(line).get("at_s", written_s) if line.strip() else written_s
        return datetime.fromtimestamp(at_s, UTC) < now - timedelta(days=self.days)
