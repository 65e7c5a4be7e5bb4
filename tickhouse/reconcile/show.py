"""Print a report for people: the law store by store, what broke, and what to run next."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tickhouse.reconcile.law import Report
from tickhouse.reconcile.verdict import Verdict


def show(report: Report, console: Console) -> None:
    """Print the tables of a report."""
    console.print(_law_table(report))
    console.print(_fault_table({**report.stores, **report.checks}))
    _print_ids(report, console)
    _print_truth(report, console)
    _print_faults(report, console)
    console.print("[bold green]The conservation law holds.[/]" if report.ok else "[bold red]The law is broken.[/]")


def _law_table(report: Report) -> Table:
    table = Table(title="Conservation law", title_justify="left")
    table.add_column("store")
    for name in ("offered", "= delivered", "+ rejected", "+ known duplicates"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for name, law in report.laws.items():
        figures = (law.offered, law.delivered, law.rejected, law.known_duplicates)
        is_right = law.holds and report.stores[name].ok
        table.add_row(name, *(f"{figure:,}" for figure in figures), _mark(is_right))
    return table


def _fault_table(verdicts: Mapping[str, Verdict]) -> Table:
    table = Table(title="What lies where", title_justify="left")
    table.add_column("what")
    for name in ("rows", "missing", "duplicate", "mismatch"):
        table.add_column(name, justify="right")
    table.add_column("hash")
    for name, verdict in verdicts.items():
        faults = (_fault(count) for count in verdict.faults.values())
        code = f"{verdict.hash:016x}" if verdict.hash is not None else "-"
        table.add_row(name, f"{verdict.count:,}", *faults, code)
    return table


def _print_ids(report: Report, console: Console) -> None:
    ids, gaps = report.ids, report.gaps
    console.print(
        f"Exchange ids {ids.exchange_ids:,} = delivered {ids.delivered:,} + rejected {ids.rejected:,} "
        f"+ in gaps {ids.open_gaps:,}  {_mark(ids.holds)}   gaps: {gaps.open} open ({gaps.open_ids:,} ids), "
        f"{gaps.filled} filled ({gaps.filled_ids:,} ids), {gaps.unfillable} unfillable ({gaps.unfillable_ids:,} ids)"
    )


def _print_truth(report: Report, console: Console) -> None:
    truth = report.truth
    if not truth["is_recorded"]:
        console.print("[yellow]No truth is recorded: the stores are held against Kafka's own distinct ids.[/]")
        return
    console.print(f"Truth: {truth['trades']:,} trades of {', '.join(map(escape, truth['sources']))}")
    own = truth["kafka_is_truth_for"]
    if own:
        console.print(f"[yellow]Held against Kafka itself, since no truth is recorded: {escape(', '.join(own))}[/]")


def _print_faults(report: Report, console: Console) -> None:
    for name, verdict in {**report.stores, **report.checks}.items():
        for example in verdict.examples:
            console.print(f"[red]{escape(name)} {example.fault}[/] {escape(example.subject)}: {escape(example.detail)}")
        if verdict.minutes_differing:
            console.print(
                f"[dim]{escape(name)}: minutes that differ: {escape('; '.join(verdict.minutes_differing))}[/]"
            )
        for note in verdict.notes:
            console.print(f"[dim]{escape(name)}: {escape(note)}[/]")


def _fault(count: int) -> str:
    return f"[bold red]{count:,}[/]" if count else "0"


def _mark(is_right: bool) -> str:
    return "[green]holds[/]" if is_right else "[bold red]broken[/]"
