"""The site of the Data Docs: the files that its pages link, and the index."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from stack.engine.context import ServiceContext
from tickhouse.audit import docs

# Last parts of the addresses that Great Expectations' pages link.
FILES = frozenset(
    (
        *("bootstrap.min.css", "bootstrap.min.js", "jquery-3.7.1.min.js", "popper.min.js"),
        *("bootstrap-table.min.css", "bootstrap-table.min.js", "bootstrap-table-filter-control.min.js"),
        *("bootstrap-table-filter-control.css", "bootstrap-table-filter-control.min.css"),
        *("bootstrap-datepicker.min.css", "bootstrap-datepicker.min.js"),
    )
)
# The pages' icons are letters of Font Awesome, under this name. These few signs stand in, in any font.
ICONS_NAME = "all.min.css"
ICONS = """\
.fas,.far,.fab{font-style:normal;font-weight:bold}
.fa-check-circle::before{content:"\\2714"}
.fa-times::before{content:"\\2718"}
.fa-exclamation-triangle::before{content:"\\26a0"}
.fa-question-circle::before{content:"?"}
.fa-search::before{content:"\\2315"}
"""
# jQuery's own archive names the file without its version.
RENAMED = {"jquery.min.js": "jquery-3.7.1.min.js"}


def make_site(context: ServiceContext) -> None:
    """Put the linked files into the site and write the index; what is there already is written again.

    Without the archives (composed, where no Maven is) the pages are there without their style.
    """
    root = docs.folder(context.settings)
    assets = root / docs.ASSETS
    assets.mkdir(parents=True, exist_ok=True)
    if "assets" in context.fetched:
        for jar in sorted(context.fetched["assets"].glob("*.jar")):
            _unpack(jar, assets)
    (assets / ICONS_NAME).write_text(ICONS)
    docs.write_index(root)


def _unpack(jar: Path, assets: Path) -> None:
    with zipfile.ZipFile(jar) as archive:
        # The last one wins: what a plain <script> can load (umd), and of copies the one with the shortest path.
        for name in sorted(archive.namelist(), key=lambda name: ("/umd/" in name, -len(name), name)):
            last = PurePosixPath(name).name
            target = RENAMED.get(last, last)
            if target in FILES and "/src/" not in name:
                (assets / target).write_bytes(archive.read(name))
