from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from common.errors import ConfigurationError
from standins.exchange import run_record
from standins.exchange.oracle import MarketOracle
from standins.exchange.rest_server import RestServer
from standins.exchange.synthetic_market import SECOND, iterate
from standins.exchange.trade_columns import OUT_OF_RANGE
from tests.unit.standins.exchange.markets import SMALL, small
from tests.unit.standins.exchange.players import Player


def played(document: dict[str, Any], *streams: str) -> tuple[MarketOracle, list[Any]]:
    player = Player({"market": SMALL.model_dump(mode="json"), **document})
    _, socket = player.connect(*streams, is_micro=True)
    player.run(8)
    record = run_record.describe_run(player.playback, RestServer(player.playback, player.limiter), 1)
    return MarketOracle.from_document(json.loads(json.dumps(record))), [text["data"] for text in socket.texts()]


ALL = tuple(f"{name.lower()}@aggTrade" for name in small().tables)


def test_the_oracle_of_a_run_record_gives_exactly_what_a_client_received() -> None:
    truth, events = played({"playback": {"speed": 20}}, *ALL)
    got = {f"binance:spot:{e['s']}:aggTrade:{e['a']}": e for e in events}
    valid, rejected = list(truth.trades()), list(truth.rejections())
    assert {t.event_id for t in valid} | {r.event_id for r in rejected} == set(got)
    assert not {t.event_id for t in valid} & {r.event_id for r in rejected}
    for trade in valid:
        event = got[trade.event_id]
        assert Decimal(event["p"]) == Decimal(trade.price).scaleb(-8)
        assert Decimal(event["q"]) == Decimal(trade.qty).scaleb(-8)
        assert (event["T"], event["f"], event["l"]) == (trade.time_us, trade.first_id, trade.last_id)
        assert event["m"] == (trade.side == "SELL")
        assert trade.is_sentinel == (event["p"] == "0")


def test_the_oracle_follows_a_market_with_live_times() -> None:
    truth, events = played({"playback": {"speed": 1, "live_times": True}}, *ALL)
    assert {(e["s"], e["a"], e["T"]) for e in events} == {
        (t.symbol, t.trade_id, t.time_us) for t in (*truth.trades(), *truth.rejections())
    }


def test_the_oracle_stops_at_its_moment() -> None:
    until_us = SMALL.start_us + 100 * SECOND
    truth = MarketOracle.from_config(SMALL, until_us)
    expected = list(iterate(small(), until_us))
    assert len(list(truth.trades())) == sum(t.flag != OUT_OF_RANGE for t in expected)
    assert "TICKUSDT" not in truth.symbols()
    assert truth.id_range("TICKUSDT") is None
    ids = [t.agg_id for t in expected if t.symbol == "BTCUSDT"]
    assert truth.id_range("BTCUSDT") == (ids[0], ids[-1])


def test_single_trades_conserve_the_aggregates() -> None:
    truth = MarketOracle.from_config(SMALL)
    totals: list[Counter[str]] = []
    for stream in ("aggTrade", "trade"):
        total: Counter[str] = Counter()
        for trade in truth.trades(stream):
            total[trade.symbol] += trade.qty
        totals.append(total)
    assert totals[0] == totals[1]


def test_klines_of_the_oracle_count_every_valid_trade_once() -> None:
    truth = MarketOracle.from_config(SMALL)
    for symbol in truth.symbols():
        valid = [t for t in truth.trades() if t.symbol == symbol and not t.is_sentinel]
        assert sum(bar.agg_trades for bar in truth.bars(symbol)) == len(valid)
        assert sum(bar.volume for bar in truth.bars(symbol)) == sum(t.qty for t in valid)


@pytest.mark.parametrize("stream", ["ticker", "miniTicker", "bookTicker"])
def test_ticks_are_what_a_client_received(stream: str) -> None:
    truth, events = played({"playback": {"speed": 20}}, f"btcusdt@{stream}", f"ethbtc@{stream}")
    mine = [tick for tick in truth.ticks(stream) if tick.symbol in ("BTCUSDT", "ETHBTC")]
    assert [dict(tick.fields) for tick in mine] == events
    assert len({tick.event_id for tick in mine}) == len(mine)


def test_the_run_record_of_a_capture_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="capture"):
        MarketOracle.from_document({"v": 1, "source": "capture"})
