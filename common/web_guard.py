"""The filter that every aiohttp server of ours has first: no page of a browser may use it."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from common.web_origin import is_foreign, is_rebound


@web.middleware
async def refuse_foreign_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 421 to a foreign `Host`, and 403 to a page of another origin; WebSockets too."""
    host = request.headers.get("Host", "")
    if is_rebound(host):
        return web.Response(status=421, text="The Host header does not name this server.\n")
    if is_foreign(request.headers, host):
        return web.Response(status=403, text="Another site made this request.\n")
    return await handler(request)
