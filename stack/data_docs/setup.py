"""Set up the site of the Data Docs: write the files that its pages link, and the index."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from stack.data_docs import report_site
from stack.engine.context import ServiceContext

# Last parts of the addresses that Great Expectations' pages link.
FILES = frozenset(
    (
        *("bootstrap.min.css", "bootstrap.min.js", "jquery-3.7.1.min.js", "popper.min.js"),
        *("bootstrap-table.min.css", "bootstrap-table.min.js", "bootstrap-table-filter-control.min.js"),
        *("bootstrap-table-filter-control.css", "bootstrap-table-filter-control.min.css"),
        *("bootstrap-datepicker.min.css", "bootstrap-datepicker.min.js"),
    )
)
# The pages take their icons from Font Awesome under this name. These characters replace them.
ICONS_NAME = "all.min.css"
ICONS = """\
.fas,.far,.fab{font-style:normal;font-weight:bold}
.fa-check-circle::before{content:"\\2714"}
.fa-times::before{content:"\\2718"}
.fa-exclamation-triangle::before{content:"\\26a0"}
.fa-question-circle::before{content:"?"}
.fa-search::before{content:"\\2315"}
"""
# The jQuery WebJar names the file without its version.
RENAMED = {"jquery.min.js": "jquery-3.7.1.min.js"}


def make_site(context: ServiceContext) -> None:
    """Put the linked files into the site and write the index; existing files are overwritten.

    Without the archives (in containers, where there is no Maven) the pages have no style.
    """
    root = report_site.folder(context.settings)
    assets = root / report_site.ASSETS
    assets.mkdir(parents=True, exist_ok=True)
    if "assets" in context.fetched:
        for jar in sorted(context.fetched["assets"].glob("*.jar")):
            _unpack(jar, assets)
    (assets / ICONS_NAME).write_text(ICONS)
    report_site.write_index(root)


def _unpack(jar: Path, assets: Path) -> None:
    with zipfile.ZipFile(jar) as archive:
        # Later files overwrite earlier ones of the same name. So the order ends with umd builds,
        # which a plain <script> can load, and among copies with the shortest path.
        for name in sorted(archive.namelist(), key=lambda name: ("/umd/" in name, -len(name), name)):
            last = PurePosixPath(name).name
            target = RENAMED.get(last, last)
            if target in FILES and "/src/" not in name:
                (assets / target).write_bytes(archive.read(name))
