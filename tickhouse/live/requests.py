"""What a person asked for: the settings file, and the options of the command over it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from common.errors import ConfigurationError
from common.live_job import MARKETS, LiveRequest, Market, SymbolSelection
from common.settings_file import MarketSection

# Binance's public addresses (binance-spot-api-docs and the documentation of the futures).
BINANCE: Final[Mapping[Market, tuple[str, str]]] = {
    "spot": ("wss://stream.binance.com:9443", "https://api.binance.com"),
    "usdm": ("wss://fstream.binance.com", "https://fapi.binance.com"),
    "coinm": ("wss://dstream.binance.com", "https://dapi.binance.com"),
}
ALL: Final = "all"
_NEXT: Final = "tickhouse live start --help"


@dataclass(frozen=True)
class GivenOptions:
    """The options of the command; what was not given is None, and the file's value stays.

    Attributes:
        markets: Only these markets; empty for those of the file.
        symbols: Comma-separated, or `all`.
        exchange_urls: An HTTP address for all markets, or `market=address` for one.
        addresses: (WebSocket, REST) of the environment; empty strings when it gives none.
    """

    markets: tuple[str, ...] = ()
    symbols: str | None = None
    quote: str | None = None
    top: int | None = None
    streams: str | None = None
    sample_s: int | None = None
    is_rest_only: bool | None = None
    exchange_urls: tuple[str, ...] = ()
    addresses: tuple[str, str] = ("", "")


def requests(sections: Mapping[Market, MarketSection], given: GivenOptions) -> list[LiveRequest]:
    """Return what is asked for, one request per market, in the order of `MARKETS`.

    Raises:
        ConfigurationError: An option is wrong, or no market or no symbols are named.
    """
    asked = [checked_market(name) for name in given.markets] or list(sections)
    if not asked:
        raise ConfigurationError(
            "No market is named: neither an option nor the settings file has one.",
            safe="Nothing was started.",
            next_command="tickhouse live start --market spot --quote USDT --top 20",
        )
    urls = _exchange_urls(given.exchange_urls)
    return [
        _request(market, sections.get(market, MarketSection()), given, urls) for market in MARKETS if market in asked
    ]


def checked_market(name: str) -> Market:
    """Return a market's name.

    Raises:
        ConfigurationError: There is no such market.
    """
    for market in MARKETS:
        if name == market:
            return market
    raise ConfigurationError(f"Expected a market of {', '.join(MARKETS)}, was {name!r}.", next_command=_NEXT)


def _request(market: Market, section: MarketSection, given: GivenOptions, urls: Mapping[str, str]) -> LiveRequest:
    ws_url, rest_url = _addresses(market, section, given, urls)
    try:
        return LiveRequest(
            market=market,
            selection=_selection(market, section, given),
            streams=section.streams if given.streams is None else _names(given.streams),
            sample_s=given.sample_s or section.sample_s,
            is_rest_only=section.rest_only if given.is_rest_only is None else given.is_rest_only,
            ws_url=ws_url,
            rest_url=rest_url,
        )
    except ValidationError as error:
        raise ConfigurationError(
            f"Market {market}: {_in_words(error)}.", safe="Nothing was started.", next_command=_NEXT
        ) from error


def _selection(market: Market, section: MarketSection, given: GivenOptions) -> SymbolSelection:
    """Return the symbols that are asked for; options replace the whole selection of the file."""
    is_given = any(option is not None for option in (given.symbols, given.quote, given.top))
    symbols = (given.symbols or "") if is_given else section.symbols
    quote, top = (given.quote or "", given.top) if is_given else (section.quote, section.top)
    if not symbols and not quote and not top:
        raise ConfigurationError(
            f"Market {market}: no symbols are named.",
            safe="Nothing was started.",
            next_command=f"tickhouse live start --market {market} --quote USDT --top 20 (or --symbols all)",
        )
    named = _names(symbols) if isinstance(symbols, str) else symbols
    return SymbolSelection(symbols=() if named == (ALL,) else named, quote=quote, top=top)


def _addresses(market: Market, section: MarketSection, given: GivenOptions, urls: Mapping[str, str]) -> tuple[str, str]:
    """Return (WebSocket, REST) of the first that has one: option, file, environment, Binance."""
    if url := urls.get(market) or urls.get(""):
        return f"ws{url.removeprefix('http')}", url
    ws_url, rest_url = BINANCE[market]
    # The environment has one address for all markets: Binance's own of another market is not meant.
    foreign = {url for other in MARKETS if other != market for url in BINANCE[other]}
    ws_given, rest_given = ("" if url.rstrip("/") in foreign else url for url in given.addresses)
    return section.ws_url or ws_given or ws_url, section.rest_url or rest_given or rest_url


def _exchange_urls(texts: tuple[str, ...]) -> dict[str, str]:
    urls: dict[str, str] = {}
    for text in texts:
        name, sign, url = text.partition("=")
        market, address = (checked_market(name), url) if sign and "://" not in name else ("", text)
        if not address.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"Expected --exchange-url http://HOST:PORT or MARKET=http://HOST:PORT, was {text!r}.",
                next_command=_NEXT,
            )
        urls[market] = address.rstrip("/")
    return urls


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _in_words(error: ValidationError) -> str:
    """Return the messages of a validation without pydantic's own words."""
    return "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors())
