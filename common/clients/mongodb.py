"""Sessions and queries of MongoDB, or of the compatible server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from common.errors import StoreUnavailable
from common.settings import Settings

if TYPE_CHECKING:
    from pymongo.database import Database

DATABASE = "market"
ANSWER_MS = 5_000
# Timeout of an open socket. A busy server must not count as down, or pymongo cancels running reads.
READ_MS = 60_000
# Documents per request when documents are deleted.
DELETE_PAGE = 1_000


@contextmanager
def connected(settings: Settings) -> Iterator[Database[dict[str, Any]]]:
    """Open database `market`, and close the client.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        with MongoClient[dict[str, Any]](
            settings.mongodb_uri.get_secret_value(),
            serverSelectionTimeoutMS=ANSWER_MS,
            connectTimeoutMS=READ_MS,
            socketTimeoutMS=READ_MS,
            appname="tickhouse",
            tz_aware=True,
        ) as client:
            yield client[DATABASE]
    except PyMongoError as error:
        raise StoreUnavailable(f"MongoDB does not answer: {error}", next_command="tickhouse logs mongodb") from error


def newest_us(settings: Settings, collection: str) -> int | None:
    """Return the trade time (µs) of the newest document of a collection, None when it is empty.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings) as database:
        found = database[collection].find_one({}, {"trade_time_us": 1}, sort=[("trade_time_us", -1)])
    return None if found is None else int(found["trade_time_us"])


def count(settings: Settings, collection: str) -> int:
    """Return the estimated number of documents of a collection.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings) as database:
        return database[collection].estimated_document_count()


def size_bytes(settings: Settings) -> int | None:
    """Return the bytes of the database on disk, None when the server does not report it.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    from pymongo.errors import OperationFailure

    with connected(settings) as database:
        try:
            return int(database.command("dbStats")["storageSize"]) or None
        except (OperationFailure, KeyError):
            return None


def has_arrived_before(settings: Settings, time_us: int) -> bool:
    """Return whether `trades_raw` has a document that arrived before `time_us`.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings) as database:
        return database["trades_raw"].find_one({"ingest_time_us": {"$lt": time_us}}, {"_id": 1}) is not None


def delete_arrived_before(settings: Settings, time_us: int) -> int:
    """Delete the documents that arrived before `time_us`; return the number of events.

    Only raw documents hold the time of arrival, so they are deleted last: after an interrupted run
    the next run finds them again.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    deleted = 0
    with connected(settings) as database:
        while True:
            old = database["trades_raw"].find({"ingest_time_us": {"$lt": time_us}}, {"_id": 1}, limit=DELETE_PAGE)
            ids = [one["_id"] for one in old]
            if not ids:
                return deleted
            for collection in ("trades", "trades_raw"):
                database[collection].delete_many({"_id": {"$in": ids}})
            deleted += len(ids)
