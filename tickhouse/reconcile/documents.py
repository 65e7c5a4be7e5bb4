"""Trades as MongoDB, Elasticsearch and Cassandra hold them, brought into the canonical form and judged on their own.

Each store has numbers and times of its own kinds; `unscaled`, `micros` and the readers turn them into integers, and
nothing is rounded on the way: what is not exactly a value of the model is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, DecimalException
from typing import Any, NamedTuple

from tickhouse.reconcile.avro import Undecodable
from tickhouse.reconcile.model import Trade
from tickhouse.reconcile.records import FieldCheck, enriched_fault, trade_of
from tickhouse.reconcile.trades import Row

HOUR_US = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=100)
_MS = 1000


class Document(NamedTuple):
    """One document or row: the id that the store knows it by, where it lies, and its canonical fields."""

    identity: str
    place: str
    fields: Mapping[str, Any]


class Unreadable(Exception):
    """A document that no trade can be made of; `identity` is the store's id of it."""

    def __init__(self, identity: str, detail: str) -> None:
        super().__init__(f"{identity}: {detail}")
        self.identity = identity
        self.detail = detail


def rows(documents: Iterable[Document | Unreadable], bad: list[Unreadable], check: FieldCheck) -> Iterator[Row]:
    """Yield a row for each document; what cannot be read goes to `bad`.

    Args:
        documents: All of the store.
        bad: Receives what is no trade.
        check: A further look at the fields; returns a fault or "".
    """
    for number, document in enumerate(documents):
        if isinstance(document, Unreadable):
            bad.append(document)
            continue
        try:
            trade = trade_of(dict(document.fields))
        except Undecodable as error:
            bad.append(Unreadable(document.identity, error.detail))
            continue
        fault = check(dict(document.fields), trade)
        if document.identity != trade.event_id:
            fault = f"it lies under {document.identity}"
        yield Row(trade, (document.place, 0, number), fault)


def enriched_document_fault(fields: dict[str, Any], trade: Trade) -> str:
    """Return what is wrong with the derived fields, the hour among them, or ""."""
    if fields["bucket"] != trade.time_us - trade.time_us % HOUR_US:
        return f"bucket: expected the hour of the trade, was {fields['bucket']}"
    return enriched_fault(fields, trade)


def raw_document_fault(fields: dict[str, Any], _trade: Trade) -> str:
    """Return what is wrong with the fields that only the raw record has, or ""."""
    return "" if fields.get("raw") and fields.get("source") else "it lacks the raw frame or its source"


def stored_twice(row: Row, copies: int) -> str:
    """Refuse any repeat: the key of these stores is the event."""
    return f"stored {copies} times"


def unscaled(value: object, places: int) -> int:
    """Return a decimal as an integer of 10^-places.

    Raises:
        ValueError: It is no decimal, or has more decimals than that.
    """
    if not isinstance(value, Decimal):
        raise ValueError(f"Expected a decimal, was {value!r}.")
    try:
        scaled = value.scaleb(places, _EXACT)
        if scaled != scaled.to_integral_value(context=_EXACT):
            raise ValueError(f"Expected at most {places} decimals, was {value}.")
        return int(scaled)
    except (DecimalException, OverflowError) as error:
        raise ValueError(f"Expected a finite decimal, was {value}.") from error


def micros(moment: object) -> int:
    """Return a moment as microseconds since 1970 UTC; one without a zone is UTC.

    Raises:
        ValueError: It is no moment.
    """
    if not isinstance(moment, datetime):
        raise ValueError(f"Expected a time, was {moment!r}.")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def exact_micros(moment: object, exact_us: object) -> int:
    """Return the exact microseconds that stand beside a timestamp of milliseconds.

    Raises:
        ValueError: They are not there, or belong to another millisecond.
    """
    if not isinstance(exact_us, int) or micros(moment) != exact_us // _MS * _MS:
        raise ValueError(f"Expected the millisecond of {exact_us!r}, was {moment!r}.")
    return exact_us


def read_each(
    found: Iterable[Any], identity: Callable[[Any], str], read: Callable[[Any], Document]
) -> Iterator[Document | Unreadable]:
    """Read what a store returns; a missing field or a value that is none of the model is unreadable."""
    for one in found:
        try:
            yield read(one)
        except (ValueError, KeyError, TypeError) as error:
            yield Unreadable(identity(one), repr(error) if isinstance(error, KeyError) else str(error))
