"""The parameter form of DAG `backfill` accepts all symbols that the exchange may have."""

from __future__ import annotations

import ast
import re

import pytest

from common.settings import REPO


def pattern() -> str:
    tree = ast.parse((REPO / "dags" / "backfill.py").read_text(encoding="utf-8"))
    [keyword] = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "pattern"]
    return str(ast.literal_eval(keyword.value))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "\u5e01\u5b89\u4eba\u751fUSDT", "BTCUSD_PERP", "1000SHIBUSDT", "B" * 50])
def test_symbols_are_accepted(symbol: str) -> None:
    assert re.search(pattern(), symbol)


@pytest.mark.parametrize("symbol", ["", "btcusdt", "BTC/USDT", "BTC USDT", "--again", "B" * 51, "BTC:USDT"])
def test_other_text_is_refused(symbol: str) -> None:
    assert re.search(pattern(), symbol) is None
