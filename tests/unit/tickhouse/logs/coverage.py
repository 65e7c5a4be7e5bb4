"""The table of docs/reference/log-fields.md: what is read from the lines of each log source.

python -m tests.unit.tickhouse.logs.coverage
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tickhouse.logs.parsing import parse_message
from tickhouse.logs.sources import log_sources

SAMPLES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "samples.yaml").read_text())
COLUMNS = ("log.level", "log.logger", "process.thread.name", "process.pid", "event.action", "error.type", "trace.id")
HEAD = ["source", "format", "time", *(f"`{name}`" for name in COLUMNS)]


def rows() -> list[list[str]]:
    """Return the cells of the table, one row per program and per source of samples."""
    sources = log_sources()
    names = sorted({*sources.programs, *sources.files, *SAMPLES})
    return [_row(name) for name in names]


def _row(name: str) -> list[str]:
    sources = log_sources()
    if name not in SAMPLES and sources.programs[name][0] == "ecs":
        return [f"`{name}`", "ecs", "yes", "yes", *["library only"], "", "", "yes", "yes", "yes"]
    sample = SAMPLES.get(name, {"text": "text"})
    path = sample.get("path", f"logs/{name}.log")
    fields = parse_message(sources, path, sample["text"], 0, datetime.now(UTC)).fields
    formats = sources.programs.get(name, ("airflow",))
    has_time = "yes" if "at" in sample else "of arrival"
    has = ["yes" if column in fields and ("at" in sample or column != "log.level") else "" for column in COLUMNS]
    if name not in SAMPLES and formats == ("airflow",):
        has_time, has = "yes", ["yes", "yes", *[""] * 5]
    return [f"`{name}`", ", ".join(formats), has_time, *has]


def table() -> str:
    """Return the table as Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *rows()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(table())
