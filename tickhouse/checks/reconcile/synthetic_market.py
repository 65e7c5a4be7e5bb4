"""Collect what the synthetic exchange offered.

Its market is computed again from the configuration that the exchange recorded.

`standins.exchange` computes the market and imports nothing of the pipeline. The texts that it
sends are read here by the same rules as a frame of Binance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigurationError
from tickhouse.checks.reconcile.exact_values import Invalid, scaled
from tickhouse.checks.reconcile.json_records import Item, Source, side
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, Rejection, event_id
from tickhouse.checks.reconcile.offered_events import OfferedEvents
from tickhouse.checks.reconcile.replayed_files import items

if TYPE_CHECKING:
    from standins.exchange.trade_columns import TradeColumns

TRADE_STREAMS = ("aggTrade", "trade")
Wanted = dict[str, set[str]]


def load_exchange(home: Path, truth: OfferedEvents) -> None:
    """Add what the exchange has played so far to `truth`; nothing when no exchange has run.

    Raises:
        ConfigurationError: `<home>/truth/exchange.json` does not parse.
    """
    record = home / "truth" / "exchange.json"
    if not record.exists():
        return
    try:
        document = json.loads(record.read_text(encoding="utf-8"))
        load_document(document, truth)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{record} is not a record of the synthetic exchange: {error!r}.", next_command="tickhouse status"
        ) from error


def load_document(document: dict[str, Any], truth: OfferedEvents) -> None:
    """Add what one record of the exchange says was played (keys: `GET /tickhouse/truth`)."""
    wanted = subscribed(document["streams_subscribed"])
    until_us = document["played_until_us"]
    if not any(wanted.values()):
        return
    offered = synthetic(document["market"], wanted, until_us) if document["market"] else captured(document, wanted)
    first = len(truth.spans)
    truth.add_all(offered, f"exchange ({document['source']}, seed {document['seed']})")
    for key, _, high in truth.spans[first:]:
        truth.live[key] = high
    truth.is_running = until_us < document["end_us"]
    _add_garbage(document["garbage"], truth)


def subscribed(streams: list[str]) -> Wanted:
    """Return the subscribed symbols of each trade stream."""
    wanted: Wanted = {stream: set() for stream in TRADE_STREAMS}
    for name in streams:
        symbol, _, stream = name.partition("@")
        if stream in wanted:
            wanted[stream].add("".join(letter.upper() if letter.isascii() else letter for letter in symbol))
    return wanted


def synthetic(market: dict[str, Any], wanted: Wanted, until_us: int) -> Iterator[Item]:
    """Yield the trades and rejections of a synthetic market up to and including `until_us`, stream
    by stream.
    """
    from standins.exchange.synthetic_market import MarketConfig, SyntheticMarket
    from standins.exchange.trade_columns import singles_of

    built = SyntheticMarket.build(MarketConfig.model_validate(market))
    for symbol, table in built.tables.items():
        if symbol in wanted["aggTrade"]:
            yield from _items(CheckedStream(market["market"], symbol, "aggTrade"), table, until_us)
        if symbol in wanted["trade"]:
            yield from _items(CheckedStream(market["market"], symbol, "trade"), singles_of(table), until_us)


def _items(key: CheckedStream, table: TradeColumns, until_us: int) -> Iterator[Item]:
    columns = (table.ids, table.first, table.last, table.maker, table.t_us)
    for row, (own_id, first, last, maker, time_us) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        if time_us > until_us:
            return
        try:
            price, qty = map(scaled, table.texts(row))
        except Invalid as error:
            yield Rejection(event_id(key, own_id), error.reason, error.detail, "exchange")
            continue
        span = (own_id, own_id) if key.stream == "trade" else (first, last)
        yield CheckedTrade(key, own_id, *span, price, qty, side(maker), time_us)


def captured(document: dict[str, Any], wanted: Wanted) -> Iterator[Item]:
    """Yield the trades of the capture that an exchange plays, up to the time it has reached."""
    capture, until_us = document["config"]["capture"], document["played_until_us"]
    for name in capture["files"]:
        for item in items(Path(name), Source(capture["market"], capture["symbol"] or "")):
            if (
                isinstance(item, CheckedTrade)
                and item.time_us <= until_us
                and item.key.symbol in wanted[item.key.stream]
            ):
                yield item


def _add_garbage(garbage: list[dict[str, Any]], truth: OfferedEvents) -> None:
    """Add the garbage frames that a client has read as rejections.

    A frame that was only sent may have been lost, so its rejection is only possible.
    """
    for frame in garbage:
        key, position = f"sha256:{frame['sha256']}", f"exchange:{frame['nth']}"
        rejections = truth.possible if frame["delivered_at_us"] is None else truth.rejections
        rejections.append(Rejection(key, frame["reason"], f"garbage: {frame['kind']}", position))
