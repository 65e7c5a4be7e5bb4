"""A server with the part of Metabase's API that we use, as its source describes it.

It shows that our requests fit together and that a second run changes nothing. It does not show that
Metabase takes them: no package registry has Metabase, so it never ran here.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
# What a card on a dashboard may have; the API refuses other keys.
DASHCARD = {"id", "card_id", "row", "col", "size_x", "size_y", "parameter_mappings", "visualization_settings", "series"}


@dataclass
class MetabaseLookAlike:
    """State of the server; a test reads and changes it."""

    password: str = ""
    setup_token: str = "token-1"
    items: dict[str, dict[int, Json]] = field(
        default_factory=lambda: {name: {} for name in ("database", "collection", "card", "dashboard")}
    )
    requests: list[tuple[str, str]] = field(default_factory=list)
    fails_after: int | None = None
    """After so many requests every other one is answered with status 500."""
    url: str = ""

    def answer(self, method: str, path: str, query: Json, document: Json, session: str | None) -> tuple[int, Any]:
        self.requests.append((method, path))
        if self.fails_after is not None and len(self.requests) > self.fails_after:
            return 500, {}
        if path in ("/api/session/properties", "/api/setup", "/api/session"):
            return self._login(path, document)
        return self._content(method, path, query, document) if session == "session-1" else (401, "Unauthenticated")

    def _login(self, path: str, document: Json) -> tuple[int, Any]:
        if path == "/api/session/properties":
            return 200, {"has-user-setup": bool(self.password), "setup-token": None if self.password else "token-1"}
        if path == "/api/setup" and not self.password:
            assert document["token"] == self.setup_token
            self.password = document["user"]["password"]
            return 200, {"id": "session-1"}
        return (200, {"id": "session-1"}) if document.get("password") == self.password else (401, {})

    def _content(self, method: str, path: str, query: Json, document: Json) -> tuple[int, Any]:
        found = re.fullmatch(r"/api/(database|collection|card|dashboard)(?:/(\d+))?(/items)?", path)
        assert found, path
        kind, number, of_items = found[1], int(found[2] or 0), found[3]
        if of_items:
            rows = self.items[query["models"][0]].values()
            inside = [row for row in rows if row["collection_id"] == number and not row.get("archived")]
            return 200, {"data": inside, "total": len(inside)}
        return self._item(method, kind, number, document)

    def _item(self, method: str, kind: str, number: int, document: Json) -> tuple[int, Any]:
        rows = self.items[kind]
        if method == "GET":
            if number:
                return 200, rows[number]
            listed = list(rows.values())
            return 200, {"data": listed, "total": len(listed)} if kind == "database" else listed
        if method == "POST":
            number = 1 + sum(map(len, self.items.values()))
            rows[number] = {"id": number, **({"dashcards": []} if kind == "dashboard" else {})}
        for dashcard in document.get("dashcards", ()):
            if set(dashcard) - DASHCARD:
                return 400, {"errors": "unknown keys"}
        if "dashcards" in document:
            cards = [
                {**one, "id": one["id"] if one["id"] > 0 else 1000 + at} for at, one in enumerate(document["dashcards"])
            ]
            document = {**document, "dashcards": cards}
        rows[number] |= document
        return 200, rows[number]

    @contextmanager
    def serving(self) -> Iterator[MetabaseLookAlike]:
        state = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                document = json.loads(self.rfile.read(length) or b"{}")
                parts = urlsplit(self.path)
                session = self.headers.get("X-Metabase-Session")
                status, answer = state.answer(self.command, parts.path, parse_qs(parts.query), document, session)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
