"""The synthetic exchange's truth: its market computed again from the configuration that it recorded.

`stack.exchange.market` is the oracle and imports nothing of the pipeline; the texts it would send are judged here by
the same rules as a frame of Binance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickhouse.errors import ConfigurationError
from tickhouse.reconcile.files import items
from tickhouse.reconcile.frames import Item, Source, side
from tickhouse.reconcile.model import Rejection, StreamKey, Trade, event_id
from tickhouse.reconcile.truth import Truth
from tickhouse.reconcile.values import Invalid, scaled

if TYPE_CHECKING:
    from stack.exchange.columns import Columns

TRADE_STREAMS = ("aggTrade", "trade")
Wanted = dict[str, set[str]]


def load_exchange(home: Path, truth: Truth) -> None:
    """Add what the exchange played until now to `truth`; nothing when none ran.

    Raises:
        ConfigurationError: `<home>/truth/exchange.json` does not parse.
    """
    record = home / "truth" / "exchange.json"
    if not record.exists():
        return
    try:
        document = json.loads(record.read_text())
        load_document(document, truth)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{record} is no record of the synthetic exchange: {error!r}.", next_command="tickhouse status"
        ) from error


def load_document(document: dict[str, Any], truth: Truth) -> None:
    """Add what one account of the exchange says was played (keys: `GET /tickhouse/truth`)."""
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
    """Return the symbols of which each trade stream was asked for."""
    wanted: Wanted = {stream: set() for stream in TRADE_STREAMS}
    for name in streams:
        symbol, _, stream = name.partition("@")
        if stream in wanted:
            wanted[stream].add(symbol.upper())
    return wanted


def synthetic(market: dict[str, Any], wanted: Wanted, until_us: int) -> Iterator[Item]:
    """Yield the trades and rejections of a synthetic market up to and including `until_us`, stream by stream."""
    from stack.exchange.columns import singles_of
    from stack.exchange.market import Market, MarketConfig

    built = Market.build(MarketConfig.model_validate(market))
    for symbol, table in built.tables.items():
        if symbol in wanted["aggTrade"]:
            yield from _items(StreamKey(market["market"], symbol, "aggTrade"), table, until_us)
        if symbol in wanted["trade"]:
            yield from _items(StreamKey(market["market"], symbol, "trade"), singles_of(table), until_us)


def _items(key: StreamKey, table: Columns, until_us: int) -> Iterator[Item]:
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
        yield Trade(key, own_id, *span, price, qty, side(maker), time_us)


def captured(document: dict[str, Any], wanted: Wanted) -> Iterator[Item]:
    """Yield the trades of the capture that an exchange plays, up to where it is."""
    capture, until_us = document["config"]["capture"], document["played_until_us"]
    for name in capture["files"]:
        for item in items(Path(name), Source(capture["market"], capture["symbol"] or "")):
            if isinstance(item, Trade) and item.time_us <= until_us and item.key.symbol in wanted[item.key.stream]:
                yield item


def _add_garbage(garbage: list[dict[str, Any]], truth: Truth) -> None:
    """Expect the frames that a client proved to have read; what was only written may have been lost with its socket."""
    for one in garbage:
        key = f"sha256:{one['sha256']}"
        rejection = Rejection(key, one["reason"], f"garbage: {one['kind']}", f"exchange:{one['nth']}")
        (truth.possible if one["delivered_at_us"] is None else truth.rejections).append(rejection)
