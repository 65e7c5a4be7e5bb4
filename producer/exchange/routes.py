"""The WebSocket address of each stream.

Since 2026-03-06 futures streams are spread over routed addresses. Since 2026-04-23 the old address
sends only the public streams (USD-M documentation, "Important WebSocket Change Notice";
binance-public-data #472). Spot has one address for all streams.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from common.errors import ConfigurationError
from producer.events import TICK_STREAMS, TRADE_STREAMS

PUBLIC, MARKET_DATA = "/public", "/market"
_FUTURES: Final = {
    "aggTrade": MARKET_DATA,
    "ticker": MARKET_DATA,
    "miniTicker": MARKET_DATA,
    "trade": PUBLIC,
    "bookTicker": PUBLIC,
}
ROUTES: Final[dict[str, dict[str, str]]] = {"spot": {}, "usdm": _FUTURES, "coinm": _FUTURES}
# Paths that people copy from examples together with the base; the client adds its own.
_TAILS: Final = ("/stream", "/ws", PUBLIC, MARKET_DATA)


class StreamAddresses:
    """Returns the WebSocket address of each stream of one market.

    Args:
        base: Base address, such as wss://fstream.binance.com.
        market: spot, usdm or coinm.
        routes: `stream=route` pairs, comma-separated, that replace the market's own routes. A route
            is a path below the base, or a whole address. `none` removes all routes.

    Raises:
        ConfigurationError: An address does not start with ws:// or wss://, or a pair is not valid.
    """

    def __init__(self, base: str, market: str, routes: str = "") -> None:
        self.base = _checked(base.rstrip("/"))
        for tail in _TAILS:
            self.base = self.base.removesuffix(tail)
        own = {} if routes.strip() == "none" else ROUTES[market]
        self._routes = {**own, **_pairs("" if routes.strip() == "none" else routes)}

    def of(self, name: str) -> str:
        """Return the address of a stream such as `btcusdt@aggTrade`."""
        route = self._routes.get(name.rpartition("@")[2], "")
        return route if "://" in route else self.base + route

    def without_route(self, address: str) -> str | None:
        """Return the address to try instead of one that does not exist (404).

        None when the address has no route.
        """
        return self.base if address != self.base and address.startswith(self.base) else None


def _pairs(text: str) -> dict[str, str]:
    routes = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        stream, sign, route = pair.partition("=")
        if not sign or stream not in (*TRADE_STREAMS, *TICK_STREAMS) or not (route.startswith("/") or "://" in route):
            raise ConfigurationError(
                f"Expected EXCHANGE_WS_ROUTES such as `aggTrade=/market,bookTicker=/public`, was {pair!r}.",
                next_command="tickhouse config show",
            )
        routes[stream] = _checked(route.rstrip("/")) if "://" in route else route.rstrip("/")
    return routes


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port, an open bracket
        is_address = False
    if not is_address:
        raise ConfigurationError(f"Expected an address such as wss://stream.binance.com:9443, was {url!r}.")
    return url
