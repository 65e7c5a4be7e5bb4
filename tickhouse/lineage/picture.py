"""What a table was made from, as a flowchart in Mermaid, which GitHub draws. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from tickhouse.lineage.runs import LineageDataset
from tickhouse.lineage.walk import LineageNode

_SHORT = 12


def mermaid(node: LineageNode) -> str:
    """Return a flowchart from the topics to the table: data in boxes, runs in rounded boxes.

    Data and runs that the tree has in several places are drawn once.
    """
    names: dict[str, str] = {}
    shapes, arrows = dict[str, str](), dict[str, None]()
    for kind, text, target in _edges(node):
        name = names.setdefault(text, f"n{len(names)}")
        shapes[name] = f'{name}["{text}"]' if kind == "data" else f'{name}(["{text}"])'
        if target is not None:
            arrows[f"{name} --> {names[target]}"] = None
    return "\n".join(["flowchart LR", *(f"    {line}" for line in (*shapes.values(), *arrows))]) + "\n"


def _edges(node: LineageNode, target: str | None = None) -> Iterator[tuple[str, str, str | None]]:
    """Yield (kind, text, what it leads to), each target before what leads to it."""
    data = _data_text(node.data)
    yield "data", data, target
    if node.run is None:
        return
    days = f"<br>days {node.run.days}" if node.run.days else ""
    run = _plain(f"{node.run.job}<br>{node.run.at:%Y-%m-%d %H:%M:%SZ}{days}")
    yield "run", run, data
    for parent in node.parents:
        yield from _edges(parent, run)


def _data_text(data: LineageDataset) -> str:
    version = f"<br>commit {data.version[:_SHORT]}" if data.version else ""
    records = sum(end - first for first, end in data.offsets.values())
    offsets = f"<br>{len(data.offsets)} partitions, {records:,} offsets" if data.offsets else ""
    return _plain(f"{data.name}{version}{offsets}")


def _plain(text: str) -> str:
    """Return text without the quote that would end a label."""
    return text.replace('"', "#quot;")
