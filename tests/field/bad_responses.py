"""Responses of REST that hold no trades, as people reported them."""

from __future__ import annotations

import gzip

from aiohttp import web

from tests.field.in_process_exchange import refusal

HTML = "<html><body>System maintenance</body></html>"
ROW = '{"a":5,"p":"1.5","q":"2","f":5,"l":5,"T":1723161255000,"m":true}'
BAD_RESPONSES = {
    "HTML with status 200": lambda: web.Response(text=HTML, content_type="text/html"),
    "empty 202": lambda: web.Response(status=202),
    "empty 204": lambda: web.Response(status=204),
    "an object where a list is due": lambda: web.json_response({"result": []}),
    "an error with status 200": lambda: web.json_response({"code": -1121, "msg": "Invalid symbol."}),
    "null": lambda: web.Response(text="null"),
    "a list of lists": lambda: web.json_response([[1, 2]]),
    "rows without an id": lambda: web.json_response([{"p": "1", "q": "1"}]),
    "rows whose id is a string": lambda: web.Response(text=f"[{ROW.replace('5,', chr(34) + '5' + chr(34) + ',', 1)}]"),
    "a negative id": lambda: web.json_response([{"a": -1}]),
    "a body that is cut": lambda: web.Response(text=f"[{ROW},{ROW[:20]}"),
    "not UTF-8": lambda: web.Response(body=b'[{"a":5,"p":"\xff\xfe"}]'),
    "nested too deeply": lambda: web.Response(text="[" * 100_000),
    "gzip that is none": lambda: web.Response(body=b"no gzip at all", headers={"Content-Encoding": "gzip"}),
    "gzip that is cut": lambda: web.Response(body=gzip.compress(b"[]")[:9], headers={"Content-Encoding": "gzip"}),
    "a huge body": lambda: web.Response(body=b" " * 2_000_000),
    "a redirect": lambda: web.Response(status=302, headers={"Location": "https://portal.test/login"}),
    "401 for want of a key": lambda: refusal(-2014, "API-key format invalid.", 401),
    "403 from a firewall": lambda: web.Response(status=403, text=HTML),
    "404": lambda: web.Response(status=404, text=HTML),
    "418 without Retry-After": lambda: refusal(-1003, "banned", 418),
    "429 with Retry-After": lambda: web.json_response({}, status=429, headers={"Retry-After": "7"}),
    "429 with nonsense": lambda: web.json_response({}, status=429, headers={"Retry-After": "²"}),
    "451 by region": lambda: web.json_response({"code": 0, "msg": "Service unavailable from"}, status=451),
    "400 when the server is busy": lambda: refusal(-1008, "Server is currently overloaded."),
    "400 without a code": lambda: web.Response(status=400, text=HTML),
    "503": lambda: web.Response(status=503, text=HTML),
    "a nonsense weight": lambda: web.Response(status=500, headers={"X-MBX-USED-WEIGHT-1M": "9" * 5000}),
}


def respond_badly(symbol, response, times):
    """Return an override: the next `times` aggTrades requests for a symbol get this response."""
    left = [times]

    async def override(path, query):
        if path != "aggTrades" or query.get("symbol") != symbol or left[0] == 0:
            return None
        left[0] -= 1
        return response()

    return override
