"""Choose the symbols of a job from what the exchange lists (pure)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from common.errors import ConfigurationError, UnknownName
from common.live_job import LiveRequest, SymbolSelection
from tickhouse.live.market_data import MarketData


def choose(request: LiveRequest, data: MarketData) -> tuple[tuple[str, ...], list[str]]:
    """Return the symbols that the job names, and those that it takes now.

    The first is empty when the job takes all symbols (of a quote asset), new listings too.

    Raises:
        UnknownName: A symbol or quote asset is not traded on this market.
        ConfigurationError: A symbol's contract size differs from ours.
    """
    selection = request.selection
    trading = data.info.trading(selection.quote)
    if selection.symbols:
        _require_trading(request, data)
        return selection.symbols, list(selection.symbols)
    if not trading:
        raise _nothing(request, data)
    if selection.top:
        ranked = sorted(trading, key=lambda symbol: (-data.volume(symbol), symbol))[: selection.top]
        return tuple(ranked), ranked
    return (), trading


def _require_trading(request: LiveRequest, data: MarketData) -> None:
    trading, wrong = data.info.trading(), data.info.wrong_sizes()
    if refused := [wrong[symbol] for symbol in request.selection.symbols if symbol in wrong]:
        raise ConfigurationError(" ".join(refused), safe="Nothing was started.", next_command="tickhouse doctor")
    unknown = sorted(set(request.selection.symbols) - set(trading))
    if unknown:
        near = sorted({name for symbol in unknown for name in difflib.get_close_matches(symbol, trading, 1)})
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UnknownName(
            f"Market {request.market} does not trade {', '.join(unknown)} now.{hint}", safe="Nothing was started."
        )


def _nothing(request: LiveRequest, data: MarketData) -> UnknownName:
    quote = request.selection.quote
    known = data.info.quotes()
    what = f"no symbol with quote asset {quote!r} trades now" if quote else "no symbol trades now"
    listed = f" The quote assets are {', '.join(known)}." if known else ""
    return UnknownName(f"Market {request.market}: {what}.{listed}", safe="Nothing was started.")


def differences(before: LiveRequest, after: LiveRequest) -> list[str]:
    """Return in words what a request changes; empty when nothing."""
    lines = [*_symbol_changes(before.selection, after.selection)]
    for name, words in (
        ("streams", lambda one: ", ".join(one.streams)),
        ("sample_s", lambda one: f"{one.sample_s}"),
        ("rest_only", lambda one: "yes" if one.is_rest_only else "no"),
        ("ws_url", lambda one: one.ws_url),
        ("rest_url", lambda one: one.rest_url),
    ):
        if words(before) != words(after):
            lines.append(f"{name}: {words(before)} -> {words(after)}")
    return lines


def _symbol_changes(before: SymbolSelection, after: SymbolSelection) -> Iterable[str]:
    if before == after:
        return
    if before.symbols and after.symbols:
        added = sorted(set(after.symbols) - set(before.symbols))
        removed = sorted(set(before.symbols) - set(after.symbols))
        signs = [f"+{name}" for name in added] + [f"-{name}" for name in removed]
        yield f"symbols: {' '.join(signs) or 'another order'}"
    else:
        yield f"symbols: {before.in_words} -> {after.in_words}"
