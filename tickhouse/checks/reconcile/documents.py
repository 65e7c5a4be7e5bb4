"""Turn documents of MongoDB, Elasticsearch and Cassandra into trades, and check each on its own.

Each store has its own types of numbers and times. `unscaled`, `micros` and the readers turn them
into integers without rounding: a value that the model cannot hold exactly is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal, DecimalException
from typing import Any, NamedTuple

from tickhouse.checks.reconcile.avro import UndecodableValue
from tickhouse.checks.reconcile.kafka_records import FieldCheck, enriched_fault, trade_of
from tickhouse.checks.reconcile.model import CheckedTrade
from tickhouse.checks.reconcile.trade_comparison import Row

HOUR_US = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=100)
_MS = 1000
_DAY_S = 86_400


class Document(NamedTuple):
    """One document or row: its id in the store, its place, and its fields in canonical form."""

    identity: str
    place: str
    fields: Mapping[str, Any]


class Unreadable(Exception):
    """A document that is not a trade; `identity` is its id in the store."""

    def __init__(self, identity: str, detail: str) -> None:
        super().__init__(f"{identity}: {detail}")
        self.identity = identity
        self.detail = detail


def rows(documents: Iterable[Document | Unreadable], bad: list[Unreadable], check: FieldCheck) -> Iterator[Row]:
    """Yield a row for each document; those that are not trades are added to `bad`.

    Args:
        documents: All documents of the store.
        bad: Receives the documents that are not trades.
        check: Checks more fields of a document; returns a fault or "".
    """
    for number, document in enumerate(documents):
        if isinstance(document, Unreadable):
            bad.append(document)
            continue
        try:
            trade = trade_of(document.fields)
        except UndecodableValue as error:
            bad.append(Unreadable(document.identity, error.detail))
            continue
        fault = check(document.fields, trade)
        if document.identity != trade.event_id:
            fault = f"its id in the store is {document.identity}"
        yield Row(trade, (document.place, 0, number), fault)


def enriched_document_fault(fields: Mapping[str, Any], trade: CheckedTrade) -> str:
    """Return what is wrong with the derived fields, including the hour, or ""."""
    if fields["bucket"] != trade.time_us - trade.time_us % HOUR_US:
        return f"bucket: expected the hour of the trade, was {fields['bucket']}"
    return enriched_fault(fields, trade)


def raw_document_fault(fields: Mapping[str, Any], _trade: CheckedTrade) -> str:
    """Return what is wrong with the fields that only the raw record has, or ""."""
    return "" if fields.get("raw") and fields.get("source") else "it lacks the raw frame or its source"


def stored_twice(row: Row, copies: int) -> str:
    """Refuse any repeat: the key of these stores is the event id."""
    return f"stored {copies} times"


def unscaled(value: object, places: int) -> int:
    """Return a decimal as an integer of 10^-places.

    Raises:
        ValueError: It is not a decimal, or has more decimal places.
    """
    if not isinstance(value, Decimal):
        raise ValueError(f"Expected a decimal, was {value!r}.")
    try:
        scaled = value.scaleb(places, _EXACT)
        units = int(scaled)
    except (DecimalException, OverflowError, ValueError) as error:
        raise ValueError(f"Expected a finite decimal, was {value}.") from error
    if units != scaled:
        raise ValueError(f"Expected at most {places} decimals, was {value}.")
    return units


def micros(moment: object) -> int:
    """Return a moment as microseconds since 1970 UTC; one without a zone is UTC.

    Raises:
        ValueError: It is not a time.
    """
    if not isinstance(moment, datetime):
        raise ValueError(f"Expected a time, was {moment!r}.")
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * _DAY_S + since.seconds) * 10**6 + since.microseconds


def exact_micros(moment: object, exact_us: object) -> int:
    """Return the exact microseconds that are stored next to a timestamp in milliseconds.

    Raises:
        ValueError: They are not there, or belong to another millisecond.
    """
    if not isinstance(exact_us, int) or micros(moment) != exact_us // _MS * _MS:
        raise ValueError(f"Expected the millisecond of {exact_us!r}, was {moment!r}.")
    return exact_us


def read_each(
    found: Iterable[Any], identity: Callable[[Any], str], read: Callable[[Any], Document]
) -> Iterator[Document | Unreadable]:
    """Read what a store returns; a document with a missing field or a wrong value is unreadable."""
    for document in found:
        try:
            yield read(document)
        except (ValueError, KeyError, TypeError) as error:
            yield Unreadable(identity(document), repr(error) if isinstance(error, KeyError) else str(error))
