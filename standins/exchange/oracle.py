"""The events that the local exchange offered, computed again from its run record.

    record = json.loads(Path(home, "truth", "exchange.json").read_text())
    for trade in MarketOracle.from_document(record).trades(): ...

Everything is a pure function of the market's configuration and of `until_us`; no server is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from common.errors import ConfigurationError
from common.symbols import in_stream_name
from standins.exchange.frame_source import SyntheticSource
from standins.exchange.klines import INTERVALS_US, Kline, bar_of, floor_to
from standins.exchange.synthetic_market import MarketConfig, SyntheticMarket
from standins.exchange.trade_columns import OUT_OF_RANGE, SENTINEL, TradeColumns

T = TypeVar("T")

TRADE_STREAMS = ("aggTrade", "trade")
TICK_STREAMS = ("ticker", "miniTicker", "bookTicker")
_EVENT_NAMES = {"24hrTicker": "ticker", "24hrMiniTicker": "miniTicker"}


class OfferedTrade(NamedTuple):
    """One valid trade.

    `price` and `qty` are in units of 10^-8, `time_us` is T, side is the taker's.
    """

    event_id: str
    market: str
    stream: str
    symbol: str
    trade_id: int
    first_id: int
    last_id: int
    price: int
    qty: int
    side: str
    time_us: int
    is_sentinel: bool


class OfferedRejection(NamedTuple):
    """One trade that does not fit decimal(28,8) and must be rejected.

    Its id still counts for continuity.
    """

    event_id: str
    market: str
    stream: str
    symbol: str
    trade_id: int
    reason: str
    price: str
    qty: str
    time_us: int


class OfferedTick(NamedTuple):
    """One ticker event with its `fields` in microseconds; a spot book ticker has no event time.

    Ticks cannot be requested again: a client that was not connected has lost them.
    """

    event_id: str
    market: str
    stream: str
    symbol: str
    event_time_us: int | None
    update_id: int | None
    fields: Mapping[str, Any]


class OfferedMalformedFrame(NamedTuple):
    """One malformed frame that one client was sent.

    `is_proven` when a pong proved that it was read.
    """

    sha256: str
    reason: str
    is_proven: bool
    written_at_us: int


@dataclass(frozen=True)
class MarketOracle:
    """The events that a synthetic market offered up to a moment of event time.

    Args:
        market: The market as played.
        until_us: Trades with a time up to and including this one were offered.
        document: The run record; empty when the oracle was built from a configuration.
    """

    market: SyntheticMarket
    until_us: int
    document: Mapping[str, Any]

    @classmethod
    def from_config(cls, config: MarketConfig, until_us: int | None = None) -> MarketOracle:
        """Build the oracle of a configuration, by default for the whole run."""
        return cls(SyntheticMarket.build(config), config.end_us if until_us is None else until_us, {})

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> MarketOracle:
        """Build the oracle of a run record (`exchange.json` or `GET /tickhouse/truth`).

        Raises:
            ConfigurationError: The record is of a capture, or of another version.
        """
        if document.get("v") != 1 or document.get("source") != "synthetic":
            raise ConfigurationError(
                f"Expected the run record of a synthetic market, version 1, was {document.get('source')!r}, "
                f"version {document.get('v')!r}.",
                safe="The stores are unchanged.",
            )
        config = MarketConfig.model_validate_json(json.dumps(document["market"]))
        return cls(SyntheticMarket.build(config), int(document["played_until_us"]), document)

    def symbols(self) -> list[str]:
        """Return the symbols that had traded by `until_us`."""
        return [name for name, table in self.market.tables.items() if table.until(self.until_us)]

    def id_range(self, symbol: str, stream: str = "aggTrade") -> tuple[int, int] | None:
        """Return the first and the last id offered, including rejected ones.

        None when there was none.
        """
        table = self._table(symbol, stream)
        count = table.until(self.until_us)
        return (int(table.ids[0]), int(table.ids[count - 1])) if count else None

    def trades(self, stream: str = "aggTrade") -> Iterator[OfferedTrade]:
        """Yield every valid trade, including sentinels, symbol by symbol in the order of ids."""
        for symbol in self.market.tables:
            yield from self._rows(symbol, stream, _trade, is_rejected=False)

    def rejections(self, stream: str = "aggTrade") -> Iterator[OfferedRejection]:
        """Yield every trade that must be rejected, symbol by symbol in the order of ids."""
        for symbol in self.market.tables:
            yield from self._rows(symbol, stream, _rejection, is_rejected=True)

    def ticks(self, stream: str) -> Iterator[OfferedTick]:
        """Yield every tick of one of `TICK_STREAMS` in the order played."""
        source, start = SyntheticSource(self.market), self.market.config.start_us - 1
        wanted = {f"{in_stream_name(name)}@{stream}" for name in self.market.tables}
        for frame in source.play(start, self.until_us, wanted, 1, 0):
            yield _tick(self.market.config.market, json.loads(frame.data))

    def bars(self, symbol: str, interval: str = "1m") -> list[Kline]:
        """Return the klines that have a trade, including the current one."""
        table, width = self._table(symbol, "aggTrade"), INTERVALS_US[interval]
        times = table.normal.t_us[: table.normal.until(self.until_us)]
        opens = sorted({floor_to(at, width) for at in set(times.tolist())})
        return [bar for at in opens if (bar := bar_of(table, at, width, self.until_us)) is not None]

    def malformed_frames(self) -> list[OfferedMalformedFrame]:
        """Return the malformed frames that a client was sent."""
        names = ("sha256", "reason", "delivered_at_us", "written_at_us")
        rows = [tuple(frame[name] for name in names) for frame in self.document.get("garbage", ())]
        return [
            OfferedMalformedFrame(sha, reason, proven is not None, written) for sha, reason, proven, written in rows
        ]

    def _table(self, symbol: str, stream: str) -> TradeColumns:
        table = (
            self.market.tables[symbol] if stream == "aggTrade" else SyntheticSource(self.market).single_trades(symbol)
        )
        if table is None or stream not in TRADE_STREAMS:
            raise ConfigurationError(f"Expected a stream of {TRADE_STREAMS}, was {stream!r}.")
        return table

    def _rows(self, symbol: str, stream: str, build: Callable[..., T], *, is_rejected: bool) -> Iterator[T]:
        table = self._table(symbol, stream)
        count = table.until(self.until_us)
        flags = table.flags[:count].tolist()
        for row, flag in enumerate(flags):
            if (flag == OUT_OF_RANGE) == is_rejected:
                yield build(table, row, stream)


def _trade(table: TradeColumns, row: int, stream: str) -> OfferedTrade:
    market, symbol, trade_id = table.spec.market, table.spec.symbol, int(table.ids[row])
    return OfferedTrade(
        event_id=f"binance:{market}:{symbol}:{stream}:{trade_id}",
        market=market,
        stream=stream,
        symbol=symbol,
        trade_id=trade_id,
        first_id=int(table.first[row]),
        last_id=int(table.last[row]),
        price=int(table.price[row]),
        qty=int(table.qty[row]),
        side="SELL" if table.maker[row] else "BUY",
        time_us=int(table.t_us[row]),
        is_sentinel=bool(table.flags[row] == SENTINEL),
    )


def _rejection(table: TradeColumns, row: int, stream: str) -> OfferedRejection:
    trade = _trade(table, row, stream)
    head = (trade.event_id, trade.market, stream, trade.symbol, trade.trade_id)
    return OfferedRejection(*head, "decimal_out_of_range", *table.texts(row), trade.time_us)


def _tick(market: str, event: dict[str, Any]) -> OfferedTick:
    stream = _EVENT_NAMES.get(event.get("e", ""), "bookTicker")
    time_us, update_id = event.get("E"), event.get("u")
    exchange_id = update_id if stream == "bookTicker" else time_us
    event_id = f"binance:{market}:{event['s']}:{stream}:{exchange_id}"
    return OfferedTick(event_id, market, stream, event["s"], time_us, update_id, event)
