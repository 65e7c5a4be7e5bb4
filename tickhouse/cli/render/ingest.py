"""Print a backfill and a replay for people: progress bars, waiting for the stores, results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from producer.parsing.source_files import SourceFile
from producer.replay import ReplayedFile
from tickhouse.cli.output import console
from tickhouse.ingest.backfill import BackfillResult
from tickhouse.ingest.replay import ReplayResult


@contextmanager
def backfill_bar(symbol: str) -> Iterator[Callable[[int, int], None]]:
    """Yield `progress(ids done, ids of the range)`, which moves a bar."""
    screen = console()
    columns = (TextColumn(symbol), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def replay_bars() -> Iterator[Callable[[SourceFile, int, int], None]]:
    """Yield `progress(file, bytes read, records sent)`, which moves one bar per file."""
    screen = console()
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[sent]:,} sent, {task.fields[rate]:,}/s"), TimeRemainingColumn(),
    )  # fmt: skip
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bars:

        def update(source: SourceFile, read: int, sent: int) -> None:
            if source.sha256 not in tasks:
                tasks[source.sha256] = bars.add_task(source.path.name, total=source.size, sent=0, rate=0)
            elapsed_s = bars.tasks[-1].elapsed or 1.0  # the last bar is that of the file being read
            bars.update(tasks[source.sha256], completed=read, sent=sent, rate=int(sent / elapsed_s))

        yield update


@contextmanager
def waiting_for_stores() -> Iterator[Callable[[dict[str, str]], None]]:
    """Yield `progress(text by store that lags)`, which updates one status line."""
    with console().status("waiting for the stores") as status:
        yield lambda lagging: status.update("; ".join(lagging.values()) or "visible")


def show_backfill(result: BackfillResult) -> None:
    """Print the counts of a backfill on one line."""
    done = result.fetched
    unserved = sum(high - low + 1 for low, high in done.unserved)
    console().print(
        f"{done.symbol} {done.first_id}..{done.last_id}: sent {done.sent:,}, known before {done.known:,}, "
        f"rejected {done.rejected:,}, not served {unserved:,}"
    )


def show_replay(result: ReplayResult, visible_after_s: dict[str, float] | None) -> None:
    """Print the counts of every file, and the seconds after which each store had all events."""
    for done in result.files:
        _show_file(done)
    if visible_after_s is not None:
        stores = ", ".join(f"{name} after {seconds:g} s" for name, seconds in visible_after_s.items())
        console().print(f"visible in {stores}")


def _show_file(done: ReplayedFile) -> None:
    screen, counts = console(), done.counts
    rate = int(done.sent / done.seconds) if done.seconds else 0
    screen.print(
        f"{done.path}: {done.format}, checksum: {done.checksum}\n"
        f"  sent {done.sent:,} ({rate:,}/s), sent by an earlier run {done.sent_earlier:,}, "
        f"known duplicates {counts.get('duplicates', 0):,}, rejected {counts.get('rejected', 0):,}, "
        f"conflicts {counts.get('conflicts', 0):,}, sampled out {counts.get('sampled_out', 0):,}, "
        f"ignored {counts.get('ignored', 0):,}, gaps {len(done.gaps)}"
    )
    if done.repeats:
        screen.print(f"  {done.compared:,} of {done.repeats:,} repeats were compared with the records in Kafka")
    if counts.get("conflicts"):
        screen.print(
            f"  [bold red]{counts['conflicts']:,} conflicts[/]: ids delivered before with other values, not sent; "
            "both payloads: tickhouse dlq show dlq.producer --reason conflict"
        )
    if done.derived is not None and done.derived.differing:
        screen.print(
            f"  {done.derived.name} is not what price and quantity give in {done.derived.differing:,} of "
            f"{done.derived.compared:,} rows (first: {done.derived.example}); it is not used"
        )
