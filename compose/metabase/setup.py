"""Make Metabase equal to the files: connection, one collection, its questions and dashboards.

Delivery guarantee: idempotent. Everything is found by its name. What exists is updated and keeps
its id, so links to it stay valid; what is missing is created. A run that died is finished by the
next one. What is in the collection and in no file is archived, which a person can undo. Nothing
outside the collection is touched, so people keep their own questions elsewhere.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, Final

from compose.metabase.client import MetabaseClient
from compose.metabase.files import MetabaseCard, MetabaseDashboard

DATABASE: Final = "Tickhouse"
COLLECTION: Final = "Tickhouse"
SCHEMAS: Final = ("market", "gold", "alerts", "audit")
# A card that takes longer is wrong; it must not keep a connection of the server.
STATEMENT_MS: Final = 60_000
MOST_ITEMS: Final = 1000


def make_database(client: MetabaseClient, login: dict[str, Any]) -> int:
    """Create or update the connection to PostgreSQL, and return its id.

    Args:
        client: Signed in.
        login: `host`, `port`, `dbname`, `user` and `password`.

    Raises:
        ConfigurationError: Metabase refuses it, for example because the login is wrong.
        ServiceNotReady: Metabase does not answer.
    """
    details = {
        **login,
        "ssl": False,
        "schema-filters-type": "inclusion",
        "schema-filters-patterns": ",".join(SCHEMAS),
        "advanced-options": True,
        "additional-options": f"options=-c%20statement_timeout%3D{STATEMENT_MS}",
    }
    document = {"name": DATABASE, "engine": "postgres", "details": details, "is_full_sync": True}
    known = {one["name"]: one["id"] for one in _rows(client.call("GET", "/api/database"))}
    return _put(client, "/api/database", known.get(DATABASE), document)


def make_dashboards(client: MetabaseClient, database: int, dashboards: list[MetabaseDashboard]) -> dict[str, int]:
    """Make the collection equal to the files; return how many items changed, by kind of change.

    Raises:
        ConfigurationError: Metabase refuses a document.
        ServiceNotReady: Metabase does not answer.
    """
    collection = _collection(client)
    known = {kind: _items(client, collection, kind) for kind in ("card", "dashboard")}
    wanted: dict[str, set[str]] = {"card": set(), "dashboard": set()}
    for dashboard in dashboards:
        cards = {}
        for card in dashboard.cards:
            document = card_document(card, dashboard, database, collection)
            cards[card.name] = _put(client, "/api/card", known["card"].get(card.title), document)
            wanted["card"].add(card.title)
        number = _put(
            client,
            "/api/dashboard",
            known["dashboard"].get(dashboard.name),
            {"name": dashboard.name, "description": dashboard.description, "collection_id": collection},
        )
        wanted["dashboard"].add(dashboard.name)
        _fill(client, number, dashboard, cards)
    return _counts(known, wanted, archived=_archive(client, known, wanted))


def card_document(card: MetabaseCard, dashboard: MetabaseDashboard, database: int, collection: int) -> dict[str, Any]:
    """Return a card as the API takes it (pure)."""
    tags = {
        name: {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"tickhouse:{card.name}:{name}")),
            "name": name,
            "display-name": name.capitalize(),
            "type": "text",
            "required": True,
            "default": dashboard.filters[name],
        }
        for name in card.parameters()
    }
    return {
        "name": card.title,
        "description": card.description(),
        "display": card.display,
        "visualization_settings": card.settings,
        "collection_id": collection,
        # Metabase turns this form of a query into its own.
        "dataset_query": {
            "type": "native",
            "database": database,
            "native": {"query": card.sql, "template-tags": tags},
        },
    }


def filter_id(dashboard: MetabaseDashboard, name: str) -> str:
    """Return the id of a dashboard's filter: the same in each run (pure)."""
    return hashlib.sha256(f"{dashboard.name}:{name}".encode()).hexdigest()[:8]


def _fill(client: MetabaseClient, number: int, dashboard: MetabaseDashboard, cards: dict[str, int]) -> None:
    """Put the cards and the filters onto a dashboard."""
    present = client.call("GET", f"/api/dashboard/{number}")["dashcards"]
    by_card = {one["card_id"]: one["id"] for one in present}
    dashcards = []
    for at, card in enumerate(dashboard.cards, start=1):
        mappings = [
            {
                "parameter_id": filter_id(dashboard, name),
                "card_id": cards[card.name],
                "target": ["variable", ["template-tag", name]],
            }
            for name in card.parameters()
        ]
        place = card.place
        dashcards.append(
            {
                "id": by_card.get(cards[card.name], -at),  # a negative id means that it is new
                "card_id": cards[card.name],
                "row": place["row"],
                "col": place["col"],
                "size_x": place["width"],
                "size_y": place["height"],
                "parameter_mappings": mappings,
            }
        )
    parameters = [
        {
            "id": filter_id(dashboard, name),
            "name": name.capitalize(),
            "slug": name,
            "type": "string/=",
            "sectionId": "string",
            "default": [value],
        }
        for name, value in dashboard.filters.items()
    ]
    client.call("PUT", f"/api/dashboard/{number}", {"parameters": parameters, "dashcards": dashcards})


def _collection(client: MetabaseClient) -> int:
    document = {
        "name": COLLECTION,
        "description": "Made from files, which overwrite changes at the next start. Save your own questions elsewhere.",
    }
    found = {one["name"]: one["id"] for one in client.call("GET", "/api/collection") if not one.get("archived")}
    return _put(client, "/api/collection", found.get(COLLECTION), document)


def _items(client: MetabaseClient, collection: int, kind: str) -> dict[str, int]:
    rows = _rows(client.call("GET", f"/api/collection/{collection}/items", models=kind, limit=MOST_ITEMS))
    return {one["name"]: one["id"] for one in rows}


def _put(client: MetabaseClient, path: str, number: int | None, document: dict[str, Any]) -> int:
    """Update what has a number, create the rest; return the number."""
    if number is None:
        return int(client.call("POST", path, document)["id"])
    client.call("PUT", f"{path}/{number}", document)
    return number


def _archive(client: MetabaseClient, known: dict[str, dict[str, int]], wanted: dict[str, set[str]]) -> int:
    items = [(kind, name, number) for kind, by_name in known.items() for name, number in by_name.items()]
    unwanted = [(kind, number) for kind, name, number in items if name not in wanted[kind]]
    for kind, number in unwanted:
        client.call("PUT", f"/api/{kind}/{number}", {"archived": True})
    return len(unwanted)


def _counts(known: dict[str, dict[str, int]], wanted: dict[str, set[str]], *, archived: int) -> dict[str, int]:
    created = sum(len(names - set(known[kind])) for kind, names in wanted.items())
    return {"created": created, "updated": sum(map(len, wanted.values())) - created, "archived": archived}


def _rows(document: Any) -> list[dict[str, Any]]:
    """Return the rows of a list, which some versions wrap in `data`."""
    rows: list[dict[str, Any]] = document["data"] if isinstance(document, dict) else document
    return rows
