"""Read the pages of the runbook: title, sections, and the commands of a section."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from common.runbook import FOLDER
from common.settings import REPO

SECTIONS = ("Symptom", "Cause", "Check", "Repair", "What is safe")
_SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class RunbookPage:
    """One page.

    Attributes:
        name: Its file name without the ending.
        title: Its first line.
        sections: The text of each section, by heading, in their order.
    """

    name: str
    title: str
    sections: dict[str, str]

    def commands(self, section: str) -> list[str]:
        """Return the command lines of a section, without comments."""
        lines = "\n".join(_FENCE.findall(self.sections[section])).replace("\\\n", " ").splitlines()
        return [line.split("  #")[0].strip() for line in lines if line.strip()]


def path_of(name: str) -> Path:
    """Return the file of a page."""
    return REPO / FOLDER / f"{name}.md"


def read_page(name: str) -> RunbookPage:
    """Read a page."""
    text = path_of(name).read_text(encoding="utf-8")
    return RunbookPage(name, text.split("\n", 1)[0].removeprefix("# "), dict(_SECTION.findall(text)))


def page_names() -> list[str]:
    """Return the name of every page; the index is none."""
    return sorted(path.stem for path in (REPO / FOLDER).glob("*.md") if path.stem != "README")
