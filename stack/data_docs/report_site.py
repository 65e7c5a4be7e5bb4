"""Turn the Data Docs into a site that needs no network.

The site has one folder per commit, local style sheets, and an index.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.market_kind import banner
from common.settings import Settings

REPORT = "report.json"
# The lists in a report; reports of earlier versions have only the first list.
LISTS = ("broken", "warnings", "notes")
ASSETS = "assets"
# Great Expectations links these on public networks. A link whose last part is in `assets/` is
# replaced; other links are removed, so that a page never waits for a network.
_LINK = re.compile(r'<(?:link|script)\b[^>]*?(?:href|src)="(https?://[^"]+)"[^>]*?(?:/?>\s*</script>|/?>)', re.DOTALL)
_BODY = re.compile(r"<body[^>]*>", re.IGNORECASE)
# The logo: the site has the picture, but its pages link a remote copy that counts visits.
_LOGO = re.compile(r'src="https?://[^"]*/(logo-long\.png)[^"]*"')


def folder(settings: Settings) -> Path:
    """Return the folder of all sites."""
    return settings.home / "data_docs"


def finish(site: Path, report: dict[str, Any]) -> None:
    """Make a site independent of the network, add its report, and list it in the index."""
    banner_text = banner(site.parent.parent)
    for page in site.rglob("*.html"):
        text = offline(page.read_text(), "../" * len(page.relative_to(site).parts), site.parent / ASSETS)
        page.write_text(with_banner(text, banner_text))
    unfinished = site / f"{REPORT}.new"
    unfinished.write_text(json.dumps({**report, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}, indent=1))
    unfinished.replace(site / REPORT)  # the process that writes the index now reads all of it, or none
    write_index(site.parent)


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

    return _LOGO.sub(rf'src="{up[3:]}static/images/\1"', _LINK.sub(local, page))


def with_banner(page: str, banner_text: str) -> str:
    """Return a page with a banner at the top; unchanged when the banner is empty (pure)."""
    if not banner_text:
        return page
    style = "background:#b00;color:#fff;font:bold 16px sans-serif;padding:.5em 1em"
    line = f'<div style="{style}">{html.escape(banner_text)}</div>'
    marked, count = _BODY.subn(lambda match: match[0] + line, page, count=1)
    return marked if count else line + page


def write_index(root: Path) -> None:
    """Write `index.html` with every site, the newest first.

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


def _write_index(root: Path) -> None:
    newest_first = sorted(reports(root).items(), key=lambda site: site[1]["at"], reverse=True)
    rows = "".join(_row(report, name) for name, report in newest_first)
    head = "<tr><th>at<th>commit<th>what<th>days<th>verdict<th>laws that broke<th>warnings<th>notes</tr>"
    page = (
        "<!doctype html><meta charset=utf-8><title>Audits</title>"
        "<style>body{font:16px sans-serif;margin:2em}"
        "td,th{padding:.3em .8em;text-align:left;vertical-align:top}"
        "td:nth-child(-n+5){white-space:nowrap}</style>"
        f"<h1>Audits of the lake</h1><table>{head}{rows}</table>"
    )
    page = with_banner(page, banner(root.parent))
    new_index = root / "index.html.new"
    new_index.write_text(page)
    new_index.replace(root / "index.html")


def _row(report: dict[str, Any], name: str) -> str:
    broken, warnings, notes = ("<br>".join(map(html.escape, report.get(name, []))) for name in LISTS)
    verdict = "passed" if report["ok"] else "<b>failed</b>"
    link = f'<a href="{name}/index.html">{html.escape(report["commit_id"][:16])}</a>'
    row = f"<tr><td>{report['at']}<td>{link}<td>{report['what']}<td>{report['days']}<td>{verdict}"
    row += f"<td>{broken}<td>{warnings}<td>{notes}</tr>"
    return row
