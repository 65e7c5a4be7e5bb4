"""Read the dashboards of `observe/metabase`: one YAML file per dashboard, one SQL file per card."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from common.errors import ConfigurationError
from common.settings import REPO

FOLDER: Final = REPO / "observe" / "metabase"
# Metabase's own form of a parameter in SQL.
PARAMETER: Final = re.compile(r"\{\{(\w+)\}\}")
# Metabase's grid has so many columns.
COLUMNS: Final = 24


@dataclass(frozen=True)
class MetabaseCard:
    """A question of Metabase, and its place on its dashboard.

    Attributes:
        name: Name of its SQL file.
        title: Its name in Metabase, unique among all cards.
        sql: The query; `{{name}}` stands for the filter of that name.
        display: Metabase's word for the kind of chart, such as `table`.
        settings: Metabase's `visualization_settings`.
        place: Row and column on the dashboard's grid, width and height in its cells.
    """

    name: str
    title: str
    sql: str
    display: str
    settings: dict[str, Any]
    place: dict[str, int]

    def parameters(self) -> list[str]:
        """Return the names of the filters that the query uses, sorted."""
        return sorted(set(PARAMETER.findall(self.sql)))

    def description(self) -> str:
        """Return what the comment at the head of the SQL file says."""
        lines = self.sql.splitlines()
        end = next(number for number, line in enumerate(lines) if not line.startswith("--"))
        return " ".join(line.removeprefix("--").strip() for line in lines[:end])


@dataclass(frozen=True)
class MetabaseDashboard:
    """A dashboard of Metabase.

    Attributes:
        filters: The filters at its top, each with the value that is chosen at first.
    """

    name: str
    description: str
    filters: dict[str, str]
    cards: tuple[MetabaseCard, ...]


def read_dashboards(folder: Path = FOLDER) -> list[MetabaseDashboard]:
    """Return all dashboards in the order of their files.

    Raises:
        ConfigurationError: A card has no SQL file, or uses a filter that is not declared.
    """
    return [_dashboard(folder, path) for path in sorted((folder / "dashboards").glob("*.yaml"))]


def _dashboard(folder: Path, path: Path) -> MetabaseDashboard:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    cards = tuple(_card(folder, path, one) for one in document["cards"])
    made = MetabaseDashboard(document["name"], document["description"], document["filters"], cards)
    for card in cards:
        unknown = set(card.parameters()) - set(made.filters)
        if unknown:
            raise ConfigurationError(f"{path.name}: card {card.name} uses filters that are not declared: {unknown}.")
    return made


def _card(folder: Path, path: Path, one: dict[str, Any]) -> MetabaseCard:
    file = folder / "cards" / f"{one['card']}.sql"
    if not file.is_file():
        raise ConfigurationError(f"{path.name}: there is no {file.relative_to(folder)}.")
    sql = file.read_text(encoding="utf-8").strip()
    return MetabaseCard(one["card"], one["title"], sql, one["display"], one.get("settings", {}), one["place"])
