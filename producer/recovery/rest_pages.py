"""Pages of trades by id from REST, and why REST does not serve some ids."""

from __future__ import annotations

import msgspec

from common.intervals import IntervalSet
from producer.exchange.rest import PAGE, RestClient
from producer.exchange.rest_responses import ExchangeRefused, Row
from producer.parsing import rest_and_csv
from producer.writer.intake import Origin


class Page(msgspec.Struct):
    """The trades that REST has for a range of ids.

    `unserved` holds (first, last, reason) of the ids that REST does not serve; `reached` is the
    last id that the page covers.
    """

    rows: list[Row]
    unserved: list[tuple[int, int, str]]
    reached: int


async def fetch_page(rest: RestClient, stream: str, symbol: str, low: int, high: int) -> Page:
    """Request the first ids of [low, high].

    An id is unserved only when REST left it out twice, or refused it.

    Raises:
        ExchangeUnavailable: REST does not answer.
    """
    limit = min(PAGE, high - low + 1)
    try:
        rows = await _rows_from(rest, stream, symbol, low, limit)
    except ExchangeRefused as error:
        end = await _end_of_refusal(rest, stream, symbol, (low, high), error)
        return Page([], [(low, end, f"refused: {error.code}")], end)
    if not rows:
        return Page([], [], low - 1)
    reached = min(high, rows[-1][0])
    if _holes(rows, low, reached):  # a server that ignores `fromId` once must not cost any id
        try:
            again = await _rows_from(rest, stream, symbol, low, limit)
        except ExchangeRefused:  # REST served them a moment ago, so keep the first answer
            again = []
        reached = min(reached, again[-1][0]) if again else low - 1
        rows = sorted({**dict(again), **dict(rows)}.items())
    unserved = [
        (first, last, f"served only from id {last + 1}" if first == low else "not served between neighbours")
        for first, last in _holes(rows, low, reached)
    ]
    return Page([row for row in rows if row[0] <= high], unserved, reached)


async def _rows_from(rest: RestClient, stream: str, symbol: str, low: int, limit: int) -> list[Row]:
    return [row for row in await rest.trades(stream, symbol, low, limit) if row[0] >= low]


def _holes(rows: list[Row], low: int, high: int) -> list[tuple[int, int]]:
    return IntervalSet((number, number) for number, _ in rows).missing(low, high)


async def _end_of_refusal(
    rest: RestClient, stream: str, symbol: str, ids: tuple[int, int], error: ExchangeRefused
) -> int:
    """Return the last id of `ids` that REST refuses, by bisection. It is known to refuse the first.

    Futures refuse ids older than two days (-4166) and serve newer ones.
    """
    refused, high = ids
    if error.is_of_symbol or await _is_refused(rest, stream, symbol, high):
        return high
    answered = high
    while answered - refused > 1:
        middle = (refused + answered) // 2
        if await _is_refused(rest, stream, symbol, middle):
            refused = middle
        else:
            answered = middle
    return refused


async def _is_refused(rest: RestClient, stream: str, symbol: str, number: int) -> bool:
    try:
        await rest.trades(stream, symbol, number, 1)
    except ExchangeRefused:
        return True
    return False


def rest_origin(stream: str, symbol: str) -> Origin:
    """Return the origin of REST trades. The position of a row is its id."""
    parse = rest_and_csv.rest_agg_trade(symbol) if stream == "aggTrade" else rest_and_csv.rest_trade(symbol)
    path = "aggTrades" if stream == "aggTrade" else "historicalTrades"
    return Origin(
        "REST", parse, rest_and_csv.identify_rest(stream, symbol), lambda at: f"/{path}?symbol={symbol}&fromId={at}"
    )
