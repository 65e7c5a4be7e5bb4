"""What the look-alike offered, computed again from its account: the reconciler's oracle.

    truth = Truth.from_document(json.loads(Path(home, "truth", "exchange.json").read_text()))
    for trade in truth.trades(): ...

Everything is a pure function of the market's configuration and of `until_us`: no server is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from stack.exchange.bars import INTERVALS_US, Bar, bar_of, floor_to
from stack.exchange.columns import OUT_OF_RANGE, SENTINEL, Columns
from stack.exchange.market import Market, MarketConfig
from stack.exchange.tape import SyntheticTape
from tickhouse.errors import ConfigurationError

T = TypeVar("T")

TRADE_STREAMS = ("aggTrade", "trade")
TICK_STREAMS = ("ticker", "miniTicker", "bookTicker")
_EVENT_NAMES = {"24hrTicker": "ticker", "24hrMiniTicker": "miniTicker"}


class TruthTrade(NamedTuple):
    """One valid trade. `price` and `qty` in units of 10^-8, 0 in a sentinel; `time_us` is T; side is the taker's."""

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


class TruthRejection(NamedTuple):
    """One trade that decimal(28,8) does not hold; its id counts for continuity, its reason is decimal_out_of_range."""

    event_id: str
    market: str
    stream: str
    symbol: str
    trade_id: int
    reason: str
    price: str
    qty: str
    time_us: int


class TruthTick(NamedTuple):
    """One ticker event; `fields` as sent on a microsecond stream, `event_time_us` None in a spot book ticker.

    Ticks have no replay: a client that was not connected has lost them for good.
    """

    event_id: str
    market: str
    stream: str
    symbol: str
    event_time_us: int | None
    update_id: int | None
    fields: Mapping[str, Any]


class TruthGarbage(NamedTuple):
    """One garbage frame that was written to one client; `is_proven` when its pong proved that the client read it."""

    sha256: str
    reason: str
    is_proven: bool
    written_at_us: int


@dataclass(frozen=True)
class Truth:
    """The offer of a synthetic market up to a moment of event time.

    Args:
        market: The market as played.
        until_us: Trades with a time up to and including this one were offered.
        document: The account it came from; empty when it was built from a configuration.
    """

    market: Market
    until_us: int
    document: Mapping[str, Any]

    @classmethod
    def from_config(cls, config: MarketConfig, until_us: int | None = None) -> Truth:
        """Build the truth of a configuration, by default of the whole run."""
        return cls(Market.build(config), config.end_us if until_us is None else until_us, {})

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Truth:
        """Build the truth of an account (`exchange.json` or `GET /tickhouse/truth`).

        Raises:
            ConfigurationError: The account is of a capture, or of another version.
        """
        if document.get("v") != 1 or document.get("source") != "synthetic":
            raise ConfigurationError(
                f"Expected the account of a synthetic exchange, version 1, was {document.get('source')!r}, "
                f"version {document.get('v')!r}.",
                safe="The stores are untouched.",
            )
        config = MarketConfig.model_validate_json(json.dumps(document["market"]))
        return cls(Market.build(config), int(document["played_until_us"]), document)

    def symbols(self) -> list[str]:
        """Return the symbols that had traded by then."""
        return [name for name, table in self.market.tables.items() if table.until(self.until_us)]

    def id_range(self, symbol: str, stream: str = "aggTrade") -> tuple[int, int] | None:
        """Return the first and the last id offered, rejected ones included; None when there was none."""
        table = self._table(symbol, stream)
        count = table.until(self.until_us)
        return (int(table.ids[0]), int(table.ids[count - 1])) if count else None

    def trades(self, stream: str = "aggTrade") -> Iterator[TruthTrade]:
        """Yield every valid trade, sentinels included, symbol by symbol in the order of ids."""
        for symbol in self.market.tables:
            yield from self._rows(symbol, stream, _trade, is_rejected=False)

    def rejections(self, stream: str = "aggTrade") -> Iterator[TruthRejection]:
        """Yield every trade that must be rejected, symbol by symbol in the order of ids."""
        for symbol in self.market.tables:
            yield from self._rows(symbol, stream, _rejection, is_rejected=True)

    def ticks(self, stream: str) -> Iterator[TruthTick]:
        """Yield every tick of one of `TICK_STREAMS` in the order played."""
        tape, start = SyntheticTape(self.market), self.market.config.start_us - 1
        wanted = {f"{name.lower()}@{stream}" for name in self.market.tables}
        for frame in tape.play(start, self.until_us, wanted, 1, 0):
            yield _tick(self.market.config.market, json.loads(frame.data))

    def bars(self, symbol: str, interval: str = "1m") -> list[Bar]:
        """Return the bars that have a trade (no flat ones), the running one included."""
        table, width = self._table(symbol, "aggTrade"), INTERVALS_US[interval]
        times = table.normal.t_us[: table.normal.until(self.until_us)]
        opens = sorted({floor_to(at, width) for at in set(times.tolist())})
        return [bar for at in opens if (bar := bar_of(table, at, width, self.until_us)) is not None]

    def garbage(self) -> list[TruthGarbage]:
        """Return the garbage frames that were written to a client."""
        names = ("sha256", "reason", "delivered_at_us", "written_at_us")
        rows = [tuple(one[name] for name in names) for one in self.document.get("garbage", ())]
        return [TruthGarbage(sha, reason, proven is not None, written) for sha, reason, proven, written in rows]

    def _table(self, symbol: str, stream: str) -> Columns:
        found = self.market.tables[symbol] if stream == "aggTrade" else SyntheticTape(self.market).single_trades(symbol)
        if found is None or stream not in TRADE_STREAMS:
            raise ConfigurationError(f"Expected a stream of {TRADE_STREAMS}, was {stream!r}.")
        return found

    def _rows(self, symbol: str, stream: str, build: Callable[..., T], *, is_rejected: bool) -> Iterator[T]:
        table = self._table(symbol, stream)
        count = table.until(self.until_us)
        flags = table.flags[:count].tolist()
        for row, flag in enumerate(flags):
            if (flag == OUT_OF_RANGE) == is_rejected:
                yield build(table, row, stream)


def _trade(table: Columns, row: int, stream: str) -> TruthTrade:
    market, symbol, trade_id = table.spec.market, table.spec.symbol, int(table.ids[row])
    return TruthTrade(
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


def _rejection(table: Columns, row: int, stream: str) -> TruthRejection:
    trade = _trade(table, row, stream)
    head = (trade.event_id, trade.market, stream, trade.symbol, trade.trade_id)
    return TruthRejection(*head, "decimal_out_of_range", *table.texts(row), trade.time_us)


def _tick(market: str, event: dict[str, Any]) -> TruthTick:
    stream = _EVENT_NAMES.get(event.get("e", ""), "bookTicker")
    time_us, update_id = event.get("E"), event.get("u")
    exchange_id = update_id if stream == "bookTicker" else time_us
    event_id = f"binance:{market}:{event['s']}:{stream}:{exchange_id}"
    return TruthTick(event_id, market, stream, event["s"], time_us, update_id, event)
