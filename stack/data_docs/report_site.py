"""The site of the reports: plain files that need no network.

    index.html, audits.html           written anew after each audit
    <commit>-<what>-<days>-<time>/    one audit: index.html (the page), report.json, data_docs/
    reports/                          monthly reports: page, notebook, record
    lineage/                          one page per publication, and its record
    assets/                           style sheets, scripts and pictures of all Data Docs

Each audit has a folder of its own and replaces nothing. The pages of all audits of one commit list
each other, so they are written again when one more is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.market_kind import banner
from common.settings import Settings
from stack.data_docs.audit_page import audit_page
from stack.data_docs.index_page import audits_page, index_page

REPORT = "report.json"
ASSETS = "assets"
# Great Expectations' pages of one audit.
DATA_DOCS = "data_docs"
# Folders of the site that are no audit.
MONTHS, LINEAGE = "reports", "lineage"
NO_AUDITS = {ASSETS, MONTHS, LINEAGE}
# Of Great Expectations' own files the pages use two; fonts and animations (4 MB) are not kept.
PICTURES = ("favicon.ico", "logo-long.png")
# Great Expectations links these on public networks. A link whose last part is in `assets/` is
# replaced; other links are removed, so that a page never waits for a network.
_LINK = re.compile(r'<(?:link|script)\b[^>]*?(?:href|src)="(https?://[^"]+)"[^>]*?(?:/?>\s*</script>|/?>)', re.DOTALL)
_BODY = re.compile(r"<body[^>]*>", re.IGNORECASE)
# The logo: the site has the picture, but its pages link a remote copy that counts visits.
_LOGO = re.compile(r'src="https?://[^"]*/(logo-long\.png)[^"]*"')
_PICTURE = re.compile(r'href="[./]*/static/images/(favicon\.ico)"')


def folder(settings: Settings) -> Path:
    """Return the folder of all sites."""
    return settings.home / "data_docs"


def new_site(settings: Settings, name: str) -> Path:
    """Make and return the folder of an audit: the name, the time, and a number if that is taken."""
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for number in range(1, 1000):
        site = folder(settings) / (f"{name}-{now}" if number == 1 else f"{name}-{now}-{number}")
        with contextlib.suppress(FileExistsError):
            site.mkdir(parents=True)
            return site
    raise FileExistsError(site)


def finish(site: Path, report: dict[str, Any]) -> None:
    """Make an audit's Data Docs independent of the network, add report and pages, and list it."""
    root, banner_text = site.parent, banner(site.parent.parent)
    with _locked(root):
        _keep_pictures(site / DATA_DOCS / "static" / "images", root / ASSETS)
    for page in site.rglob("*.html"):
        text = offline(page.read_text(), "../" * len(page.relative_to(site).parts), root / ASSETS)
        page.write_text(with_banner(text, banner_text))
    shutil.rmtree(site / DATA_DOCS / "static", ignore_errors=True)
    report = {**report, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    # The process that writes the index now reads all of it, or none.
    write_whole(site / REPORT, json.dumps(report, indent=1, ensure_ascii=False))
    with _locked(root):
        _write_pages_of(root, str(report["commit_id"]))
        _write_index(root)


def _keep_pictures(found: Path, assets: Path) -> None:
    assets.mkdir(exist_ok=True)
    for name in PICTURES:
        if (found / name).exists() and not (assets / name).exists():
            shutil.copyfile(found / name, assets / name)


def _write_pages_of(root: Path, commit_id: str) -> None:
    """Write the page of each audit of a commit; each lists the others."""
    others = [(name, one) for name, one in _newest_first(root) if one["commit_id"] == commit_id]
    for name, one in others:
        if one.get("laws") is not None:  # an earlier version's index.html is its Data Docs
            write_whole(root / name / "index.html", audit_page(one, others, banner(root.parent)))


def write_whole(path: Path, text: str) -> None:
    """Write a file at once: a reader sees the old one or the new one."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text(text)
    unfinished.replace(path)


def offline(page: str, up: str, assets: Path) -> str:
    """Return a page whose links to public networks point to `assets/`, or are removed.

    Args:
        page: HTML.
        up: Path from the page to the folder above the site.
        assets: Folder of the files that may be linked.
    """

    def local(match: re.Match[str]) -> str:
        name = match[1].rpartition("/")[2]
        if not (assets / name).exists():
            return ""
        if name.endswith(".css"):
            return f'<link rel="stylesheet" href="{up}{ASSETS}/{name}">'
        return f'<script src="{up}{ASSETS}/{name}"></script>'

    page = _LOGO.sub(rf'src="{up}{ASSETS}/\1"', _LINK.sub(local, page))
    return _PICTURE.sub(rf'href="{up}{ASSETS}/\1"', page)


def with_banner(page: str, banner_text: str) -> str:
    """Return a page with a banner at the top; unchanged when the banner is empty (pure)."""
    if not banner_text:
        return page
    style = "background:#b00;color:#fff;font:bold 16px sans-serif;padding:.5em 1em"
    line = f'<div style="{style}">{html.escape(banner_text)}</div>'
    marked, count = _BODY.subn(lambda match: match[0] + line, page, count=1)
    return marked if count else line + page


def write_index(root: Path) -> None:
    """Write `index.html` and `audits.html`, the newest first.

    One process writes at a time: two audits that end together would each miss the other's report.
    """
    with _locked(root):
        _write_index(root)


def reports(root: Path) -> dict[str, dict[str, Any]]:
    """Return the report of each site by the name of its folder.

    A report that retention removes meanwhile is left out.
    """
    found = {}
    for path in root.glob(f"*/{REPORT}"):
        with contextlib.suppress(FileNotFoundError):
            found[path.parent.name] = json.loads(path.read_text())
    return found


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _newest_first(root: Path) -> list[tuple[str, dict[str, Any]]]:
    return sorted(reports(root).items(), key=lambda site: (site[1]["at"], site[0]), reverse=True)


def _write_index(root: Path) -> None:
    audits, text = _newest_first(root), banner(root.parent)
    write_whole(root / "audits.html", audits_page(audits, text))
    index = index_page(audits, _records(root / MONTHS, "month"), _records(root / LINEAGE, "at"), text)
    write_whole(root / "index.html", index)


def _records(folder: Path, order: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the records beside the pages of a folder, the newest first by one of their fields."""
    found = [(path.stem, json.loads(path.read_text())) for path in folder.glob("*.json")]
    return sorted(found, key=lambda one: (one[1][order], one[1].get("at", ""), one[0]), reverse=True)


def add_page(root: Path, folder: str, name: str, page: str, record: dict[str, Any]) -> None:
    """Put a page beside the audits, with the record by which the index lists it.

    Args:
        root: Folder of all sites.
        folder: `reports` or `lineage`.
        name: Of the file, without suffix.
        page: The whole page.
        record: `commit_id`, and what the index shows of this kind of page.
    """
    (root / folder).mkdir(parents=True, exist_ok=True)
    write_whole(root / folder / f"{name}.html", page)
    write_whole(root / folder / f"{name}.json", json.dumps(record, indent=1))
    write_index(root)
