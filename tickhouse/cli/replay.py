"""`tickhouse replay`: recorded files through the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from producer.files import SourceFile
    from producer.replay import Replayed
    from producer.visible import Expected
    from tickhouse.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def replay(
        files: Annotated[list[Path], typer.Argument(help="Captures, REST answers, archive CSV or zip.")],
        *,
        market: Annotated[str, typer.Option(help="spot, usdm or coinm.")],
        symbol: Annotated[str | None, typer.Option(help="For files that do not say it.")] = None,
        again: Annotated[bool, typer.Option("--again", help="Send what Kafka has as well; stores keep one.")] = False,
        wait: Annotated[bool, typer.Option(help="End when all is visible in the stores.")] = True,
        timeout_s: Annotated[float, typer.Option(help="How long to wait for the stores.")] = 300.0,
        sample_s: Annotated[int, typer.Option(min=1, help="One tick a symbol and stream every so many s.")] = 5,
        json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Replay recorded files: every id once, resumable, gaps and conflicts told."""
        from producer.events import check_market, check_symbol
        from producer.files import open_source
        from producer.runtime import configure_logging
        from producer.visible import Expected
        from tickhouse.settings import load_settings

        configure_logging()
        check_market(market)
        if symbol is not None:
            check_symbol(symbol)
        sources = [open_source(path, symbol) for path in files]  # every refusal before the first record is sent
        settings = load_settings()
        done = [
            _one(settings, source, market=market, symbol=symbol, again=again, sample_s=sample_s) for source in sources
        ]
        expected = [Expected(market, item.delivered, item.offsets) for item in done]
        stores = wait_for_stores(settings, expected, timeout_s) if wait else None
        _show(done, stores, as_json=json)
        if not all(item.is_whole for item in done):
            raise typer.Exit(5)


def _one(
    settings: Settings, source: SourceFile, *, market: str, symbol: str | None, again: bool, sample_s: int
) -> Replayed:
    from producer.replay import record_truth, replay
    from producer.runtime import open_writer
    from producer.signals import stop_flag
    from producer.sniff import symbol_of
    from producer.store import file_writer
    from tickhouse.cli._show import console

    writer = open_writer(
        settings, market=market, writer=file_writer(source.sha256), sample_s=sample_s,
        is_forced=again, follows_gaps=False,
    )  # fmt: skip
    record_truth(settings.home, source, market, symbol or symbol_of(source.path.name))
    with stop_flag() as is_stopped, _bar(console(), source) as progress:
        done = replay(source, writer, progress=progress, is_stopped=is_stopped)
    writer.reader.close()
    return done


def _bar(console: Any, source: SourceFile) -> Any:
    """Return a context that yields `progress(bytes done, records sent)`: share, records/s, time left."""
    from contextlib import contextmanager

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    @contextmanager
    def bar() -> Any:
        columns = (
            TextColumn(source.path.name), BarColumn(), TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[sent]:,} sent, {task.fields[rate]:,}/s"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=source.size, sent=0, rate=0)

            def update(done: int, sent: int) -> None:
                elapsed = progress.tasks[0].elapsed or 1.0
                progress.update(task, completed=done, sent=sent, rate=int(sent / elapsed))

            yield update

    return bar()


def wait_for_stores(settings: Settings, expected: list[Expected], timeout_s: float) -> dict[str, float]:
    """Wait until everything is visible in every store, and return the seconds each took.

    Raises:
        StoreUnavailable: The time is over; names the stores that lag.
    """
    from producer.visible import store_probes, wait_visible
    from tickhouse.cli._show import console

    took: dict[str, float] = {}
    with console().status("waiting for the stores") as status:
        for item in expected:
            took = wait_visible(
                store_probes(settings, item),
                timeout_s=timeout_s,
                progress=lambda lag: status.update("; ".join(lag.values()) or "visible"),
            )
    return took


def _show(done: list[Replayed], stores: dict[str, float] | None, *, as_json: bool) -> None:
    from tickhouse.cli._show import console, print_json

    if as_json:
        print_json({"files": [_document(item) for item in done], "visible_after_s": stores})
        return
    for item in done:
        counts = item.counts
        rate = int(item.sent / item.seconds) if item.seconds else 0
        console().print(
            f"{item.path}: {item.format}, checksum: {item.checksum}\n"
            f"  sent {item.sent:,} ({rate:,}/s), sent by an earlier run {item.sent_earlier:,}, "
            f"known duplicates {counts.get('duplicates', 0):,}, rejected {counts.get('rejected', 0):,}, "
            f"conflicts {counts.get('conflicts', 0):,}, sampled out {counts.get('sampled_out', 0):,}, "
            f"ignored {counts.get('ignored', 0):,}, gaps {len(item.gaps)}"
        )
    if stores is not None:
        console().print("visible in " + ", ".join(f"{name} after {seconds:g} s" for name, seconds in stores.items()))


def _document(item: Replayed) -> dict[str, Any]:
    return {
        "path": item.path, "sha256": item.sha256, "format": item.format, "checksum": item.checksum,
        "is_whole": item.is_whole, "sent": item.sent, "sent_earlier": item.sent_earlier, "counts": item.counts,
        "rejects": item.rejects, "seconds": round(item.seconds, 3),
        "gaps": [{"stream": s, "symbol": n, "first_id": a, "last_id": b} for s, n, a, b in item.gaps],
        "delivered": [
            {"stream": stream, "symbol": symbol, "ranges": [list(pair) for pair in ranges]}
            for (stream, symbol), ranges in item.delivered.items()
        ],
        "offsets": {topic: {str(p): list(pair) for p, pair in parts.items()} for topic, parts in item.offsets.items()},
    }  # fmt: skip
