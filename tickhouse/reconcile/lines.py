"""Judge the lines of CSV files: the public archive's layouts and the flattened captures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tickhouse.reconcile.frames import Item, Source, sha_key, side
from tickhouse.reconcile.model import Rejection, StreamKey, Trade, event_id
from tickhouse.reconcile.values import Invalid, exchange_id, scaled, span, symbol, time_us, without_exponent

_FLAGS = {"true": True, "false": False, "1": True, "0": False}

LineJudge = Callable[[bytes], Iterator[Item]]
_Reader = Callable[[list[str], Source], Trade]


def archive_judge(layout: str, source: Source) -> LineJudge:
    """Return the judge for archive lines of a layout of `archive_layout`; klines yield nothing."""
    readers: dict[str, tuple[str, _Reader]] = {"aggTrades": ("aggTrade", _agg_trade), "trades": ("trade", _trade)}
    if layout not in readers:
        return lambda raw: iter(())
    stream, reader = readers[layout]
    key = StreamKey(source.market, source.symbol, stream)
    return lambda raw: _judge(raw, source, reader, key)


def archive_layout(columns: list[str]) -> str:
    """Name the layout of an archive line, or of its header: aggTrades, trades, klines, or nothing known.

    Spot aggTrades have 8 columns, USD-M 7, klines 12; `trades` have a quote quantity, a decimal, where aggTrades
    have the first trade id.
    """
    if len(columns) == 12:
        return "klines"
    if columns[0] in ("agg_trade_id", "id"):
        return "aggTrades" if columns[0] == "agg_trade_id" else "trades"
    if len(columns) in (7, 8) and columns[5].isdigit() and columns[6].lower() in _FLAGS:
        return "aggTrades"
    return "trades" if len(columns) in (6, 7) and columns[4].isdigit() else ""


def _agg_trade(columns: list[str], source: Source) -> Trade:
    _expect(columns, 7, 8)
    return Trade(
        StreamKey(source.market, symbol(source.symbol), "aggTrade"),
        exchange_id(_integer(columns[0], "bad_id")),
        *span(_integer(columns[3], "bad_id"), _integer(columns[4], "bad_id")),
        scaled(columns[1]), scaled(columns[2]), side(_flag(columns[6])), time_us(_integer(columns[5], "bad_time")),
    )  # fmt: skip


def _trade(columns: list[str], source: Source) -> Trade:
    _expect(columns, 6, 7)
    own_id = exchange_id(_integer(columns[0], "bad_id"))
    return Trade(
        StreamKey(source.market, symbol(source.symbol), "trade"),
        own_id, own_id, own_id, scaled(columns[1]), scaled(columns[2]),
        side(_flag(columns[5])), time_us(_integer(columns[4], "bad_time")),
    )  # fmt: skip


def flattened_judge(source: Source) -> LineJudge:
    """Return the judge for trade frames flattened to CSV (columns TimestampOfReceive to MUnknownParameter)."""
    return lambda raw: _judge(raw, source, _flattened, None)


def _flattened(columns: list[str], source: Source) -> Trade:
    _expect(columns, 10, 11)
    own_id = exchange_id(_integer(columns[6], "bad_id"))
    time_us(_integer(columns[3], "bad_time"))
    return Trade(
        StreamKey(source.market, symbol(columns[5]), "trade"),
        own_id, own_id, own_id, scaled(without_exponent(columns[7])), scaled(without_exponent(columns[8])),
        side(_flag(columns[9])), time_us(_integer(columns[4], "bad_time")),
    )  # fmt: skip


def _judge(raw: bytes, source: Source, reader: _Reader, key: StreamKey | None) -> Iterator[Item]:
    columns: list[str] = []
    try:
        columns = raw.decode("utf-8").split(",")
        yield reader(columns, source)
    except UnicodeDecodeError as error:
        yield Rejection(sha_key(raw), "not_utf8", str(error))
    except Invalid as error:
        yield Rejection(_line_key(columns, raw, source, key), error.reason, error.detail)


def _line_key(columns: list[str], raw: bytes, source: Source, key: StreamKey | None) -> str:
    try:
        if key is not None:
            return event_id(key._replace(symbol=symbol(key.symbol)), exchange_id(_integer(columns[0], "bad_id")))
        stream = StreamKey(source.market, symbol(columns[5]), "trade")
        return event_id(stream, exchange_id(_integer(columns[6], "bad_id")))
    except (Invalid, IndexError):
        return sha_key(raw)


def _expect(columns: list[str], fewest: int, most: int) -> None:
    if not fewest <= len(columns) <= most:
        raise Invalid("missing_field", f"Expected {fewest} to {most} columns, was {len(columns)}.")


def _integer(text: str, reason: str) -> int:
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    if not (digits.isascii() and digits.isdigit()):
        raise Invalid(reason, f"Expected an integer, was {text!r}.")
    return int(sign + digits)


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError as error:
        raise Invalid("wrong_type", f"Expected True or False, was {text!r}.") from error
