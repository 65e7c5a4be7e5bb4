"""Print a report of reconcile for people: the law per store, the faults and the notes."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tickhouse.checks.reconcile.conservation_law import ReconcileReport
from tickhouse.checks.reconcile.store_result import StoreResult


def show(report: ReconcileReport, console: Console) -> None:
    """Print the tables of a report."""
    console.print(_law_table(report))
    console.print(_fault_table({**report.stores, **report.checks}))
    _print_ids(report, console)
    _print_truth(report, console)
    _print_faults(report, console)
    console.print("[bold green]The conservation law holds.[/]" if report.ok else "[bold red]The law is broken.[/]")


def _law_table(report: ReconcileReport) -> Table:
    table = Table(title="Conservation law", title_justify="left")
    table.add_column("store", overflow="fold")
    for name in ("offered", "= delivered", "+ rejected", "+ known duplicates"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("result", overflow="fold")
    for name, law in report.laws.items():
        figures = (law.offered, law.delivered, law.rejected, law.known_duplicates)
        is_right = law.holds and report.stores[name].ok
        table.add_row(name, *(f"{figure:,}" for figure in figures), _result_text(is_right))
    return table


def _fault_table(results: Mapping[str, StoreResult]) -> Table:
    table = Table(title="What each store holds", title_justify="left")
    table.add_column("store or check", overflow="fold")
    for name in ("rows", "missing", "duplicate", "mismatch"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("hash", overflow="fold")
    for name, result in results.items():
        faults = (_fault_text(count) for count in result.faults.values())
        code = f"{result.hash:016x}" if result.hash is not None else "-"
        table.add_row(name, f"{result.count:,}", *faults, code)
    return table


def _print_ids(report: ReconcileReport, console: Console) -> None:
    ids, gaps = report.ids, report.gaps
    console.print(
        f"Exchange ids {ids.exchange_ids:,} = delivered {ids.delivered:,} + rejected {ids.rejected:,} "
        f"+ in gaps {ids.open_gaps:,}  {_result_text(ids.holds)}   gaps: {gaps.open} open ({gaps.open_ids:,} ids), "
        f"{gaps.filled} filled ({gaps.filled_ids:,} ids), {gaps.unfillable} unfillable ({gaps.unfillable_ids:,} ids)"
    )


def _print_truth(report: ReconcileReport, console: Console) -> None:
    if report.resolved:
        console.print(f"{report.resolved:,} dead letters are resolved: their ids are delivered and count as delivered")
    truth = report.truth
    if not truth["is_recorded"]:
        console.print(
            "[yellow]What was offered is not recorded: the stores are compared with Kafka's own distinct ids.[/]"
        )
        return
    console.print(f"Offered: {truth['trades']:,} trades of {', '.join(map(escape, truth['sources']))}")
    for name in truth["left_out"]:
        console.print(f"[yellow]Left out, so its trades are only compared with Kafka's copy: {escape(name)}[/]")
    own = truth["kafka_is_truth_for"]
    if own:
        console.print(
            f"[yellow]Compared with Kafka itself, because what was offered is not recorded: {escape(', '.join(own))}[/]"
        )


def _print_faults(report: ReconcileReport, console: Console) -> None:
    for name, result in {**report.stores, **report.checks}.items():
        for example in result.examples:
            console.print(f"[red]{escape(name)} {example.fault}[/] {escape(example.subject)}: {escape(example.detail)}")
        if result.minutes_differing:
            console.print(f"[dim]{escape(name)}: minutes that differ: {escape('; '.join(result.minutes_differing))}[/]")
        for note in result.notes:
            console.print(f"[dim]{escape(name)}: {escape(note)}[/]")


def _fault_text(count: int) -> str:
    return f"[bold red]{count:,}[/]" if count else "0"


def _result_text(is_right: bool) -> str:
    return "[green]holds[/]" if is_right else "[bold red]broken[/]"
