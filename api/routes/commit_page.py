"""The page of a commit of the lake, for people who follow a link from Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.responses import HTMLResponse

from api.routes.common import Serving
from api.routes.lake import commit_document
from tickhouse.lake import refs
from tickhouse.lake.audit_verdict import REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

router = APIRouter(include_in_schema=False)
# A value of metadata is cut here: a commit of an outage names hundreds of manifests.
MOST_CHARACTERS: Final = 2_000
_HEAD: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title} · Tickhouse</title>'
    '<link rel="icon" type="image/svg+xml" href="/assets/icon.svg"><link rel="stylesheet" href="/assets/style.css">'
    '<link rel="stylesheet" href="/assets/ops.css">'
    '<script src="/assets/stored_theme.js"></script></head><body><header class="top"><h1 class="brand">'
    '<img src="/assets/icon.svg" alt="" width="22" height="22">Tickhouse</h1><nav class="pages" aria-label="Pages">'
    '<a href="/">Market</a> <a href="/ops">Operations</a></nav></header>'
    '<main><section class="panel board-panel commit">'
)


@router.get("/commits/{commit}")
async def commit_page(commit: Annotated[str, Path(pattern="^[0-9a-f]{64}$")], server: Serving) -> HTMLResponse:
    """Return the page. Like the other pages it needs no key: they hand one out to every reader."""
    lake = await server.lake.at(commit)  # 404 when there is no such commit
    (found,) = await server.stores.reads.run(lambda: refs.log(server.stores.settings, lake.commit_id, 1))
    return HTMLResponse(page_of(commit_document(found)))


def page_of(document: Mapping[str, Any]) -> str:
    """Return a commit as HTML (pure).

    Args:
        document: Keys `commit`, `created_at`, `message`, `parents`, `metadata`.
    """
    title = f"Commit {document['commit'][:12]}"
    rows = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{value}</td></tr>" for name, value in _rows(document))
    body = f"<h2>{title}</h2><div class='scroll'><table><tbody>{rows}</tbody></table></div>"
    return f"{_HEAD.format(title=title)}{body}</section></main></body></html>"


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "id", escape(document["commit"])
    yield "made at", escape(document["created_at"])
    yield "message", escape(document["message"])
    yield "parents", " ".join(_link(f"/commits/{parent}", parent[:12]) for parent in document["parents"]) or "none"
    for name, value in sorted(document["metadata"].items()):
        is_link = name == REPORT and value.startswith(("http://", "https://"))
        shown = value if len(value) <= MOST_CHARACTERS else f"{value[:MOST_CHARACTERS]} …"
        yield name, _link(value, value) if is_link else escape(shown)


def _link(url: str, text: str) -> str:
    return f'<a href="{escape(url)}">{escape(text)}</a>'
