"""A client of MongoDB, or of the compatible server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

if TYPE_CHECKING:
    from pymongo.database import Database

DATABASE = "market"
ANSWER_MS = 5_000
# Of a socket that is open: a busy server must not count as gone, or pymongo cancels what it was reading.
READ_MS = 60_000


@contextmanager
def connected(settings: Settings) -> Iterator[Database[dict[str, Any]]]:
    """Open database `market` and close the client.

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
    """Return the trade time of the newest document of a collection, µs; None when it is empty.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings) as database:
        found = database[collection].find_one({}, {"trade_time_us": 1}, sort=[("trade_time_us", -1)])
    return None if found is None else int(found["trade_time_us"])


def count(settings: Settings, collection: str) -> int:
    """Return how many documents a collection holds.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings) as database:
        return database[collection].estimated_document_count()
