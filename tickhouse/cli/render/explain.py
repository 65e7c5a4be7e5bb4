"""Print an explanation for people: one paragraph per system, in the order of the data flow."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from common.market_kind import banner
from common.settings import home
from common.topics import PRODUCER_DEAD_LETTERS
from tickhouse.checks.explain.event import Explanation


def show(answer: Explanation, console: Console) -> None:
    """Print the answer of each system."""
    if text := banner(home()):
        console.print(f"[bold yellow]{text}[/]")
    console.print(f"[bold]{escape(answer.event_id)}[/]")
    for name, found in answer.systems.items():
        console.print(f"[bold]{escape(name)}[/]")
        for line in lines(name, found):
            console.print(f"  {escape(line)}")
    for name, why in answer.unavailable.items():
        console.print(f"[bold]{escape(name)}[/]\n  [yellow]no answer: {escape(why)}[/]")
    if not answer.is_found:
        console.print("[bold red]No system knows this event[/]: it is in no store, no dead letter and no gap.")


def lines(name: str, found: Any) -> list[str]:
    """Return the lines of one system's answer."""
    if name == "ledger":
        return _ledger_lines(found)
    if name == "postgres":
        return _postgres_lines(found)
    if name == "redis":
        return [
            f"{found['key']}: " + ("this is the latest trade" if found["is_latest"] else f"latest is {found['latest']}")
        ]
    if name in ("geode", "neo4j"):
        return [f"{part}: {_derived_text(value)}" for part, value in found.items()]
    if not found:
        return ["no dead letter" if name == PRODUCER_DEAD_LETTERS else "not there"]
    return [_row_text(name, row) for row in found]


def _row_text(name: str, row: dict[str, Any]) -> str:
    if name == "lake":
        commit = row["first_commit"]
        since = f"first in commit {commit['commit'][:12]} ({commit['message']})" if commit else "not committed yet"
        return f"{row['path']} (Kafka offset {row['partition']}@{row['offset']}), on {row['ref']}, {since}"
    if name == PRODUCER_DEAD_LETTERS:
        return (
            f"rejected, {row.get('reason')}: {row.get('detail')} (from {row.get('position')}, offset {row['offset']})"
        )
    if "place" in row:
        return f"{row['place']}: " + " ".join(
            str(row[part]) for part in ("side", "qty", "price", "trade_time") if part in row
        )
    figures = " ".join(str(row[part]) for part in ("side", "qty", "price", "trade_time") if part in row)
    return f"{row['topic']} partition {row['partition']} offset {row['offset']}: {figures}"


def _derived_text(value: Any) -> str:
    """Return a part of what Geode or the graph holds: text, or the figures of a minute or hour."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure}" for name, figure in value.items())
    return "not there" if value is None else str(value)


def _ledger_lines(found: dict[str, Any]) -> list[str]:
    seen = f"seen by {', '.join(found['seen_by'])}" if found["seen_by"] else "no writer has seen this id"
    gaps = [
        f"in the {gap['state']} gap {gap['first_id']} to {gap['last_id']} ({gap.get('reason')})"
        for gap in found["gaps"]
    ]
    return [seen, *(gaps or ["in no gap"])]


def _postgres_lines(found: dict[str, Any]) -> list[str]:
    applied = "applied to market.candles_1m" if found["is_applied"] else "not applied to any candle"
    bar = found.get("bar")
    if bar is None:
        return [applied]
    ids = f"ids {bar['open_trade_id']} to {bar['close_trade_id']}"
    return [applied, f"bar {bar['open_time']}: {bar['agg_trades']} events, {ids}, close {bar['close']}"]
