"""Kafka records of trades, enriched trades and ticks, judged on their own before they are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from tickhouse.reconcile.avro import Decoder, Undecodable
from tickhouse.reconcile.kafka import Record, partition_of
from tickhouse.reconcile.model import StreamKey, Trade, kafka_key
from tickhouse.reconcile.trades import Row


class Broken(NamedTuple):
    """A record that no reader can decode; it must be in `dlq.spark` under `<topic>-<partition>-<offset>`."""

    record: Record
    reason: str
    detail: str

    @property
    def dead_letter_key(self) -> str:
        """Return the key of its dead letter."""
        return f"{self.record.topic}-{self.record.partition}-{self.record.offset}"


FieldCheck = Callable[[dict[str, Any], Trade], str]


def trade_rows(
    records: Iterable[Record], decoder: Decoder, partitions: int, broken: list[Broken], check: FieldCheck | None = None
) -> Iterator[Row]:
    """Yield a row for each record; what does not decode goes to `broken`.

    Args:
        records: Records of `crypto.trades` or `crypto.trades.enriched`.
        decoder: Reads the values.
        partitions: Number of partitions of the topic, to see that each record is in its key's.
        broken: Receives what does not decode.
        check: A further look at the fields; returns a fault or "".
    """
    key_of = cache(lambda key: kafka_key(key).encode())
    partition_for = cache(lambda key: partition_of(key_of(key), partitions))
    for record in records:
        try:
            fields = decoder.decode(record.value)
            trade = trade_of(fields)
        except Undecodable as error:
            broken.append(Broken(record, error.reason, error.detail))
            continue
        fault = check(fields, trade) if check else ""
        if fields["event_id"] != trade.event_id:
            fault = f"its event_id says {fields['event_id']}"
        elif record.key != key_of(trade.key):
            fault = f"its key is {record.key!r}"
        elif record.partition != partition_for(trade.key):
            fault = f"it is in partition {record.partition}, its key belongs in {partition_for(trade.key)}"
        yield Row(trade, record.place, fault)


@cache
def _stream(market: str, symbol: str, stream: str) -> StreamKey:
    return StreamKey(market, symbol, stream)


def trade_of(fields: dict[str, Any]) -> Trade:
    """Return the trade in a decoded record or a lake row.

    Raises:
        Undecodable: A field of the trade is not there.
    """
    try:
        return Trade(
            _stream(fields["market"], fields["symbol"], fields["stream"]),
            fields["trade_id"], fields["first_trade_id"], fields["last_trade_id"],
            fields["price"], fields["qty"], fields["side"], fields["trade_time"],
        )  # fmt: skip
    except KeyError as error:
        raise Undecodable("undecodable", f"Expected a field {error}.") from error


def enriched_fault(fields: dict[str, Any], trade: Trade) -> str:
    """Return what is wrong with the fields that enrichment adds, or "": each is a function of the trade."""
    base, quote = fields["base"], fields["quote"]
    wanted: dict[str, object] = {
        "quote_qty": trade.price * trade.qty,
        "is_sentinel": trade.is_sentinel,
        "minute": trade.minute_us,
        "pair": f"{base}-{quote}" if quote else fields["pair"],
    }
    wrong = [name for name, value in wanted.items() if fields[name] != value]
    if quote and trade.key.market == "spot" and base + quote != trade.key.symbol:
        wrong.append("base and quote")
    return f"{', '.join(wrong)} not derived from the trade" if wrong else ""


def tick_ids(
    records: Iterable[Record], decoder: Decoder, partitions: int, broken: list[Broken]
) -> Iterator[tuple[str, str]]:
    """Yield (event id, fault) of each tick; what does not decode goes to `broken`."""
    for record in records:
        try:
            fields = decoder.decode(record.value)
            key = kafka_key(_stream(fields["market"], fields["symbol"], fields["stream"])).encode()
            event = fields["event_id"]
        except Undecodable as error:
            broken.append(Broken(record, error.reason, error.detail))
            continue
        except KeyError as error:
            broken.append(Broken(record, "undecodable", f"Expected a field {error}."))
            continue
        is_placed = record.key == key and record.partition == partition_of(key, partitions)
        yield event, "" if is_placed else f"it lies under key {record.key!r} in partition {record.partition}"
