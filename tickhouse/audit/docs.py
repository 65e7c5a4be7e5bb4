"""Data Docs as a site that needs no network: a folder a commit, style sheets and scripts of our own, an index."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tickhouse.settings import Settings

REPORT = "report.json"
ASSETS = "assets"
# Great Expectations links these from public networks. By the last part of the address; what is not in `assets/` is
# taken out, so that a page never waits for a network that is not there.
_LINK = re.compile(r'<(?:link|script)\b[^>]*?(?:href|src)="(https?://[^"]+)"[^>]*?(?:/?>\s*</script>|/?>)', re.DOTALL)
# The pages' logo: the site has the picture itself, and links a copy that counts visits.
_LOGO = re.compile(r'src="https?://[^"]*/(logo-long\.png)[^"]*"')


def folder(settings: Settings) -> Path:
    """Return where all sites lie."""
    return settings.home / "data_docs"


def finish(site: Path, report: dict[str, Any]) -> None:
    """Make a built site self-contained, add its report, and list it in the index."""
    for page in site.rglob("*.html"):
        page.write_text(offline(page.read_text(), "../" * len(page.relative_to(site).parts), site.parent / ASSETS))
    (site / REPORT).write_text(json.dumps({**report, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}, indent=1))
    write_index(site.parent)


def offline(page: str, up: str, assets: Path) -> str:
    """Return a page whose links to public networks lead to `assets/`, or are gone (pure but for a look at the folder).

    Args:
        page: HTML.
        up: Path from the page to the folder above the site.
        assets: Folder of what may be linked.
    """

    def local(match: re.Match[str]) -> str:
        name = match[1].rpartition("/")[2]
        if not (assets / name).exists():
            return ""
        if name.endswith(".css"):
            return f'<link rel="stylesheet" href="{up}{ASSETS}/{name}">'
        return f'<script src="{up}{ASSETS}/{name}"></script>'

    return _LOGO.sub(rf'src="{up[3:]}static/images/\1"', _LINK.sub(local, page))


def write_index(root: Path) -> None:
    """Write `index.html`: every site, the newest first."""
    reports = [(json.loads(path.read_text()), path.parent.name) for path in root.glob(f"*/{REPORT}")]
    rows = "".join(_row(report, name) for report, name in sorted(reports, key=lambda one: one[0]["at"], reverse=True))
    head = "<tr><th>at<th>commit<th>what<th>days<th>verdict<th>laws that broke</tr>"
    page = (
        "<!doctype html><meta charset=utf-8><title>Audits</title>"
        "<style>body{font:16px sans-serif;margin:2em}"
        "td,th{padding:.3em .8em;text-align:left;vertical-align:top}</style>"
        f"<h1>Audits of the lake</h1><table>{head}{rows}</table>"
    )
    fresh = root / "index.html.new"
    fresh.write_text(page)
    fresh.replace(root / "index.html")


def _row(report: dict[str, Any], name: str) -> str:
    broken = "<br>".join(map(html.escape, report["broken"]))
    verdict = "passed" if report["ok"] else "<b>failed</b>"
    link = f'<a href="{name}/index.html">{html.escape(report["commit_id"][:16])}</a>'
    return f"<tr><td>{report['at']}<td>{link}<td>{report['what']}<td>{report['days']}<td>{verdict}<td>{broken}</tr>"
