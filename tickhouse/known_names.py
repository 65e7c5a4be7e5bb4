"""Names that a person gives: a wrong one is an error that has the nearest names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final, LiteralString

from common.errors import UnknownName
from common.symbols import nearest, upper_latin
from producer.events import MARKETS

MOST_NAMES: Final = 5
Pair = tuple[str, str]

# Market and symbol of all streams that PostgreSQL has candles of. It takes one index look-up per
# stream; DISTINCT would read every block of ids.
KNOWN_PAIRS: Final[LiteralString] = """
WITH RECURSIVE streams AS (
    (SELECT market, symbol, stream FROM market.trade_ranges ORDER BY market, symbol, stream LIMIT 1)
    UNION ALL
    SELECT following.* FROM streams AS s, LATERAL (
        SELECT r.market, r.symbol, r.stream FROM market.trade_ranges AS r
        WHERE (r.market, r.symbol, r.stream) > (s.market, s.symbol, s.stream)
        ORDER BY r.market, r.symbol, r.stream LIMIT 1
    ) AS following
)
SELECT DISTINCT market, symbol FROM streams ORDER BY market, symbol
"""


def nearest_names(wanted: str, known: Iterable[str]) -> str:
    """Return the names most like the wanted one; the first ones in order when none is like it."""
    names = sorted(known)
    close = get_close_matches(wanted, names, n=MOST_NAMES, cutoff=0.6)
    if close:
        return ", ".join(close)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more if names else "none"


def shown(text: str) -> str:
    """Return a given text for a message: quoted, without control characters (pure)."""
    return repr(text).encode("utf-8", "backslashreplace").decode()


def require_market(market: str) -> str:
    """Return a market that exists.

    Raises:
        UnknownName: It does not.
    """
    return require_one("market", market, MARKETS)


def require_one(what: str, name: str, known: Collection[str]) -> str:
    """Return a name that is known.

    Args:
        what: What the name names, for the message: market, state, store.
        name: The given name.
        known: All names.

    Raises:
        UnknownName: It is none of them; the message has the nearest.
    """
    if name not in known:
        raise UnknownName(f"There is no {what} {shown(name)}. The nearest: {nearest_names(name, known)}.")
    return name


def require_pair(market: str, symbol: str, known: Collection[Pair], *, where: str = "", command: str = "") -> Pair:
    """Return market and symbol as the stores have them.

    Args:
        market: The given market; empty for any.
        symbol: The given symbol, in any case.
        known: Market and symbol of all that there is.
        where: Ends the first sentence of the message, such as ` on these days`.
        command: Lists the known symbols.

    Raises:
        UnknownName: There is no such market or symbol. The message has the nearest names, and the
            markets that have the symbol.
    """
    exact = upper_latin(symbol)
    if (market, exact) in known:
        return market, exact
    if market:
        require_market(market)
    elif any(name == exact for _, name in known):
        return market, exact
    others = sorted({of_market for of_market, name in known if name == exact})
    hint = f" Market {', '.join(others)} has it." if others else ""
    near = nearest_names(nearest(symbol), {name for of_market, name in known if market in ("", of_market)})
    owner = f"Market {market} has" if market else "There is"
    raise UnknownName(f"{owner} no symbol {shown(symbol)}{where}.{hint} The nearest: {near}.", next_command=command)
