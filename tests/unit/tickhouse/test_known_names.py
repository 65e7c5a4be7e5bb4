"""A wrong market or symbol: the error has the nearest names, and the market that has the symbol."""

from __future__ import annotations

import pytest

from common.errors import UnknownName
from tickhouse.known_names import nearest_names, require_market, require_one, require_pair

KNOWN = [("spot", "BTCUSDT"), ("spot", "ETHUSDT"), ("usdm", "1000PEPEUSDT")]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "btcusdt"])
def test_a_known_symbol_is_returned_as_the_stores_have_it(symbol: str) -> None:
    assert require_pair("spot", symbol, KNOWN) == ("spot", "BTCUSDT")
    assert require_pair("", symbol, KNOWN) == ("", "BTCUSDT")


@pytest.mark.parametrize(
    ("market", "symbol", "message"),
    [
        ("spot", "BTCUSD", "Market spot has no symbol 'BTCUSD'. The nearest: BTCUSDT, ETHUSDT."),
        ("spot", "1000PEPEUSDT", "Market spot has no symbol '1000PEPEUSDT'. Market usdm has it. The nearest: "),
        ("coinm", "BTCUSD_PERP", "Market coinm has no symbol 'BTCUSD_PERP'. The nearest: none."),
        ("", "ETHUSD", "There is no symbol 'ETHUSD'. The nearest: ETHUSDT"),
        ("sopt", "BTCUSDT", "There is no market 'sopt'. The nearest: spot."),
        ("spot", "[/b]\x1b[31m", "Market spot has no symbol '[/b]\\x1b[31m'."),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(market: str, symbol: str, message: str) -> None:
    with pytest.raises(UnknownName) as raised:
        require_pair(market, symbol, KNOWN, command="list them")

    assert raised.value.message.startswith(message)


def test_names_that_are_like_none_get_the_first_ones() -> None:
    assert nearest_names("zzz", "abcdefgh") == "a, b, c, d, e and 3 more"
    assert require_market("usdm") == "usdm"
    with pytest.raises(UnknownName, match="no state 'opne'"):
        require_one("state", "opne", ("open", "filled"))
