"""Print the lineage of a table or of an event for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from tickhouse.lineage.runs import LineageDataset, LineageRun
from tickhouse.lineage.walk import EventLineage, LineageNode


def show_table(node: LineageNode) -> None:
    """Print a tree: what a table was made from."""
    tree = Tree(_data_text(node.data))
    _add(tree, node)
    Console(highlight=False, soft_wrap=True).print(tree)


def _add(tree: Tree, node: LineageNode) -> None:
    branch = tree if node.run is None else tree.add(f"[dim]made by[/] {_run_text(node.run)}")
    for parent in node.parents:
        _add(branch.add(_data_text(parent.data)), parent)


def _data_text(data: LineageDataset) -> str:
    version = f"@{data.version[:12]}" if data.version else ""
    spans = ", ".join(f"{partition}: [{first}, {end})" for partition, (first, end) in sorted(data.offsets.items()))
    return f"[bold]{escape(data.name)}{version}[/]" + (f" {escape(spans)}" if spans else "")


def _run_text(run: LineageRun) -> str:
    days = f", days {run.days}" if run.days else ""
    return f"{run.job} at {run.at:%Y-%m-%d %H:%M:%SZ}{days}"


def show_event(found: EventLineage) -> None:
    """Print the runs that used an event, one after the other."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(found.event_id)}[/]")
    if found.place is None:
        console.print("is not in the lake. tickhouse explain says where it is.")
        return
    console.print("came as {topic} {partition}@{offset}".format(**found.place))
    if not found.commit_id:
        console.print("is not committed yet: DAG lake_commit does it every two minutes.")
    for run in found.runs:
        written = ", ".join(out.name for out in run.outputs)
        console.print(f"{_run_text(run)}: {written}@{run.outputs[0].version[:12]}")
    if found.commit_id and not found.runs:
        console.print(f"is in commit {found.commit_id[:12]} of ingest, of which no run is recorded.")


def event_document(found: EventLineage) -> dict[str, Any]:
    """Return the lineage of an event as JSON-ready values."""
    runs = [
        {
            **{"job": run.job, "run_id": run.run_id, "at": run.at.isoformat()},
            "days": str(run.days) if run.days else None,
            "outputs": [{"name": out.name, "version": out.version or None} for out in run.outputs],
        }
        for run in found.runs
    ]
    return {"event_id": found.event_id, "place": found.place, "commit": found.commit_id or None, "runs": runs}
