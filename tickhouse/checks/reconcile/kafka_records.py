"""Decode the Kafka records of trades, enriched trades and ticks, and check each on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from common.kafka_partitions import partition_of
from tickhouse.checks.reconcile.avro import UndecodableValue, ValueDecoder
from tickhouse.checks.reconcile.contract_turnover import quote_quantity
from tickhouse.checks.reconcile.kafka import LogRecord
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, kafka_key
from tickhouse.checks.reconcile.trade_comparison import Row

# Values of `source` in enriched trades; records of earlier versions have none.
MARKET_SOURCES = ("EXCHANGE", "SIMULATED", None)


class UndecodableRecord(NamedTuple):
    """A record that cannot be decoded.

    It must be in `dlq.spark` under `<topic>-<partition>-<offset>`.
    """

    record: LogRecord
    reason: str
    detail: str

    @property
    def dead_letter_key(self) -> str:
        """Return the key of its dead letter."""
        return f"{self.record.topic}-{self.record.partition}-{self.record.offset}"


FieldCheck = Callable[[Mapping[str, Any], CheckedTrade], str]


def trade_rows(
    records: Iterable[LogRecord],
    decoder: ValueDecoder,
    partitions: int,
    broken: list[UndecodableRecord],
    check: FieldCheck | None = None,
) -> Iterator[Row]:
    """Yield a row for each record; records that do not decode are added to `broken`.

    Args:
        records: Records of `crypto.trades` or `crypto.trades.enriched`.
        decoder: Reads the values.
        partitions: Number of partitions of the topic, to check the partition of each record.
        broken: Receives the records that do not decode.
        check: Checks more fields of a record; returns a fault or "".
    """
    key_of = cache(lambda key: kafka_key(key).encode())
    partition_for = cache(lambda key: partition_of(key_of(key), partitions))
    for record in records:
        try:
            fields = decoder.decode(record.value)
            trade = trade_of(fields)
        except UndecodableValue as error:
            broken.append(UndecodableRecord(record, error.reason, error.detail))
            continue
        fault = check(fields, trade) if check else ""
        if fields["event_id"] != trade.event_id:
            fault = f"its event_id is {fields['event_id']}"
        elif record.key != key_of(trade.key):
            fault = f"its key is {record.key!r}"
        elif record.partition != partition_for(trade.key):
            fault = f"it is in partition {record.partition}, its key belongs in {partition_for(trade.key)}"
        yield Row(trade, record.place, fault)


@cache
def stream_of(market: str, symbol: str, stream: str) -> CheckedStream:
    """Return a stream; the same object each time, so that comparing trades is quick."""
    return CheckedStream(market, symbol, stream)


def trade_of(fields: Mapping[str, Any]) -> CheckedTrade:
    """Return the trade in a decoded record or a lake row.

    Raises:
        UndecodableValue: A field of the trade is missing.
    """
    try:
        return CheckedTrade(
            stream_of(fields["market"], fields["symbol"], fields["stream"]),
            fields["trade_id"], fields["first_trade_id"], fields["last_trade_id"],
            fields["price"], fields["qty"], fields["side"], fields["trade_time"],
        )  # fmt: skip
    except KeyError as error:
        raise UndecodableValue("undecodable", f"Expected a field {error}.") from error


def enriched_fault(fields: Mapping[str, Any], trade: CheckedTrade) -> str:
    """Return what is wrong with the fields that enrichment derives from the trade, or ""."""
    base, quote = fields["base"], fields["quote"]
    wrong = []
    if fields["quote_qty"] != quote_quantity(trade):
        wrong.append("quote_qty")
    if fields["is_sentinel"] != trade.is_sentinel:
        wrong.append("is_sentinel")
    if fields["minute"] != trade.minute_us:
        wrong.append("minute")
    if quote and fields["pair"] != f"{base}-{quote}":
        wrong.append("pair")
    if fields.get("source", "EXCHANGE") not in MARKET_SOURCES:
        wrong.append("source")
    if quote and trade.key.market == "spot" and base + quote != trade.key.symbol:
        wrong.append("base and quote")
    return f"{', '.join(wrong)} not derived from the trade" if wrong else ""


def tick_ids(
    records: Iterable[LogRecord], decoder: ValueDecoder, partitions: int, broken: list[UndecodableRecord]
) -> Iterator[tuple[str, str]]:
    """Yield (event id, fault) of each tick; records that do not decode are added to `broken`."""
    for record in records:
        try:
            fields = decoder.decode(record.value)
            key = kafka_key(stream_of(fields["market"], fields["symbol"], fields["stream"])).encode()
            event = fields["event_id"]
        except UndecodableValue as error:
            broken.append(UndecodableRecord(record, error.reason, error.detail))
            continue
        except KeyError as error:
            broken.append(UndecodableRecord(record, "undecodable", f"Expected a field {error}."))
            continue
        is_placed = record.key == key and record.partition == partition_of(key, partitions)
        yield event, "" if is_placed else f"its key is {record.key!r}, in partition {record.partition}"
