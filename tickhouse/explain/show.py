"""Print an explanation for people: one paragraph a system, in the order in which an event travels."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from tickhouse.explain.explain import Explanation


def show(answer: Explanation, console: Console) -> None:
    """Print what each system says."""
    console.print(f"[bold]{escape(answer.event_id)}[/]")
    for name, found in answer.systems.items():
        console.print(f"[bold]{escape(name)}[/]")
        for line in lines(name, found):
            console.print(f"  {escape(line)}")
    for name, why in answer.unavailable.items():
        console.print(f"[bold]{escape(name)}[/]\n  [yellow]not asked: {escape(why)}[/]")
    if not answer.is_found:
        console.print("[bold red]No system knows this event[/]: it is in no store, no dead letter and no gap.")


def lines(name: str, found: Any) -> list[str]:
    """Return the lines of one system's answer."""
    if name == "ledger":
        return _ledger(found)
    if name == "postgres":
        return _postgres(found)
    if name == "redis":
        return [
            f"{found['key']}: " + ("this is the latest trade" if found["is_latest"] else f"latest is {found['latest']}")
        ]
    if not found:
        return ["no dead letter" if name == "dlq.producer" else "not there"]
    return [_row(name, row) for row in found]


def _row(name: str, row: dict[str, Any]) -> str:
    if name == "lake":
        commit = row["first_commit"]
        since = f"first in commit {commit['commit'][:12]} ({commit['message']})" if commit else "not committed yet"
        return f"{row['path']} (Kafka offset {row['partition']}@{row['offset']}), on {row['ref']}, {since}"
    if name == "dlq.producer":
        return (
            f"rejected, {row.get('reason')}: {row.get('detail')} (from {row.get('position')}, offset {row['offset']})"
        )
    if "place" in row:
        return f"{row['place']}: " + " ".join(
            str(row[part]) for part in ("side", "qty", "price", "trade_time") if part in row
        )
    figures = " ".join(str(row[part]) for part in ("side", "qty", "price", "trade_time") if part in row)
    return f"{row['topic']} partition {row['partition']} offset {row['offset']}: {figures}"


def _ledger(found: dict[str, Any]) -> list[str]:
    seen = f"seen by {', '.join(found['seen_by'])}" if found["seen_by"] else "no writer says it saw this id"
    gaps = [
        f"in the {gap['state']} gap {gap['first_id']} to {gap['last_id']} ({gap.get('reason')})"
        for gap in found["gaps"]
    ]
    return [seen, *(gaps or ["in no gap"])]


def _postgres(found: dict[str, Any]) -> list[str]:
    applied = "applied to market.candles_1m" if found["is_applied"] else "not applied to any candle"
    bar = found.get("bar")
    if bar is None:
        return [applied]
    ids = f"ids {bar['open_trade_id']} to {bar['close_trade_id']}"
    return [applied, f"bar {bar['open_time']}: {bar['agg_trades']} events, {ids}, close {bar['close']}"]
