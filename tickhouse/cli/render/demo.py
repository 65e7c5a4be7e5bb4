"""Print a demo for people: its steps, its progress, and where to look afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from common.market_kind import BANNER
from common.settings import Settings, home, ports, secrets_file
from stack.engine.progress import PhaseReporter
from tickhouse.cli.output import Progress as ServiceProgress
from tickhouse.demo.home import exports
from tickhouse.demo.run import DemoResult


class DemoConsole:
    """Shows a demo on a console; implements `tickhouse.demo.run.DemoScreen`."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin_step(self, name: str) -> None:
        """Print the step's name."""
        self._console.print(f"[bold]{name}[/]")

    def end_step(self, name: str, seconds: float) -> None:
        """Print the step's duration."""
        self._console.print(f"[dim]{name}: {seconds} s[/]")

    @contextmanager
    def services(self) -> Iterator[PhaseReporter]:
        """Show one line per service while they start."""
        with ServiceProgress() as progress:
            yield progress

    @contextmanager
    def playback(self) -> Iterator[Callable[[int, int, str], None]]:
        """Show a bar of the trades played."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self._console) as bars:
            task = bars.add_task("exchange", total=None, text="starting")
            yield lambda played, total, text: bars.update(task, completed=played, total=total, text=text)

    @contextmanager
    def status(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show one line with a spinner."""
        with self._console.status(text) as status:
            yield status.update


def show_result(result: DemoResult, settings: Settings, console: Console) -> None:
    """Print what the demo published, its addresses, and the next commands."""
    metrics_port, spark_port = ports()["producer_metrics"], ports()["spark_ui"]
    console.print(f"\n[bold yellow]{BANNER}[/]")
    console.print(f"Home:     {home()}, {result.memory_mb:,} MB of memory; your own lakehouse was not touched")
    console.print(f"Lake:     commit [bold]{result.commit['id'][:16]}[/] of ingest, {result.commit['message']}")
    console.print(f"Main:     commit [bold]{result.main['id'][:16]}[/], tags {', '.join(result.main['tags'])}")
    console.print(f"Audit:    {result.main['metadata'].get('audit.report', '')}")
    console.print(f"Alerts:   {result.alerts.in_words}")
    password = f"AIRFLOW_ADMIN_PASSWORD in {secrets_file()}"
    console.print(f"Page:     {settings.api_url}   prices as they come, gaps, alerts")
    console.print(f"Airflow:  {settings.airflow_url}   user admin, password: {password}")
    console.print(f"Spark:    http://127.0.0.1:{spark_port}")
    console.print(f"Metrics:  http://127.0.0.1:{metrics_port}/metrics")
    console.print("Look:     tickhouse --demo status | gaps | explain EVENT_ID | candles --help")
    console.print("Stop:     tickhouse --demo down (data stays) | tickhouse --demo down --purge (nothing stays)")
    console.print(f"Without --demo, in this shell:\n{exports()}\n", soft_wrap=True)
