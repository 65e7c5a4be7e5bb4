"""Candles in a real PostgreSQL: exactly once, however the trades are cut, ordered or repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from spark.candle_sink import CandleStore, ConcurrentApply
from spark.sums import Ranges, StreamKey, partials
from tests.conftest import Stack
from tests.unit.spark.test_sums import facts
from tests.unit.spark.trades import MINUTE_US, Trade, candle
from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up("postgres")


@pytest.fixture
def store(settings: Settings) -> Iterator[CandleStore]:
    made = CandleStore(settings.database_dsn("stream"))
    yield made
    made.close()


def fresh(trades: list[Trade], seen: Ranges | None = None) -> list[dict[str, Any]]:
    """Return the fresh partials of trades of one stream, as the tasks of a batch would."""
    stream = StreamKey(trades[0].market, trades[0].symbol, trades[0].stream)
    return [row for row in partials(map(facts, trades), {stream: seen or []}) if row["is_fresh"]]


def bars(settings: Settings, symbol: str) -> dict[int, dict[str, Any]]:
    with psycopg.connect(settings.database_dsn("reader"), row_factory=dict_row) as connection:
        rows = connection.execute("SELECT * FROM market.candles_1m WHERE symbol = %s", [symbol]).fetchall()
    return {int(row["open_time"].timestamp()) * 1_000_000 // MINUTE_US: row for row in rows}


@pytest.mark.parametrize("seed", range(4))
def test_any_delivery_gives_the_bars_by_definition(settings: Settings, store: CandleStore, seed: int) -> None:
    rng = random.Random(seed)
    symbol = f"SEED{seed}USDT"
    stream = StreamKey("spot", symbol, "aggTrade")
    trades = [
        Trade(
            n,
            price=str(Decimal(rng.randrange(1, 10**12)) / 10**8),
            qty=str(Decimal(rng.randrange(1, 10**12)) / 10**8),
            side=rng.choice(("BUY", "SELL")),
            time_us=n * (MINUTE_US // 20) + rng.randrange(1000),
            singles=rng.randrange(1, 5),
            symbol=symbol,
        )
        for n in range(1, 200)
    ]
    deliveries = [*trades, *rng.sample(trades, 60)]
    rng.shuffle(deliveries)
    while deliveries:
        batch, deliveries = deliveries[: (size := rng.randrange(1, 40))], deliveries[size:]
        store.apply(fresh(batch, store.seen().get(stream)))

    found = bars(settings, symbol)
    minutes = {trade.time_us // MINUTE_US for trade in trades}
    assert set(found) == minutes
    for minute in minutes:
        expected = candle(trade for trade in trades if trade.time_us // MINUTE_US == minute)
        expected["agg_trades"] = expected.pop("events")
        expected["checksum"] %= 2**64
        assert {name: found[minute][name] for name in expected} == expected
        exact = Context(prec=100)
        vwap = exact.divide(expected["quote_volume"], expected["volume"])
        assert found[minute]["vwap"] == vwap.quantize(Decimal("1e-16"), ROUND_HALF_UP, exact)
    assert store.seen()[stream] == [(1, 199)]


def test_partials_of_one_bar_from_several_tasks_add_up(settings: Settings, store: CandleStore) -> None:
    trades = [Trade(n, price=str(n * 7 % 10 + 1), symbol="TASKUSDT", singles=n) for n in range(1, 10)]
    store.apply([row for task in range(3) for row in fresh(trades[task::3])])
    (bar,) = bars(settings, "TASKUSDT").values()
    expected = candle(trades)
    expected["agg_trades"] = expected.pop("events")
    expected["checksum"] %= 2**64
    assert {name: bar[name] for name in expected} == expected
    assert store.seen()[StreamKey("spot", "TASKUSDT", "aggTrade")] == [(1, 9)]


def test_ids_applied_meanwhile_are_refused_whole(settings: Settings, store: CandleStore) -> None:
    one, two, three = (Trade(n, symbol="RACEUSDT") for n in (1, 2, 3))
    store.apply(fresh([one, three]))
    before = bars(settings, "RACEUSDT")
    with pytest.raises(ConcurrentApply):
        store.apply(fresh([two, three]))
    assert bars(settings, "RACEUSDT") == before
    store.apply(fresh([two, three], seen=[(1, 1), (3, 3)]))
    assert store.seen()[StreamKey("spot", "RACEUSDT", "aggTrade")] == [(1, 3)]


def test_streams_of_a_symbol_never_mix_and_the_fuller_one_shows(settings: Settings, store: CandleStore) -> None:
    singles = [Trade(n, price="10", symbol="TWOUSDT", stream="trade") for n in (100, 101, 102)]
    aggregate = Trade(7, price="11", symbol="TWOUSDT", singles=2)
    store.apply([*fresh(singles), *fresh([aggregate])])
    with psycopg.connect(settings.database_dsn("reader")) as connection:
        shown = connection.execute("SELECT stream, trades FROM market.candles WHERE symbol = 'TWOUSDT'").fetchall()
    assert shown == [("trade", 3)]


def test_the_stream_role_can_neither_delete_nor_drop(settings: Settings) -> None:
    with psycopg.connect(settings.database_dsn("stream"), autocommit=True) as connection:
        for statement in ("DELETE FROM market.candles_1m", "DROP TABLE market.candles_1m"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_a_server_that_is_away_is_transient() -> None:
    away = CandleStore("postgresql://127.0.0.1:9/none")
    with pytest.raises(StoreUnavailable, match="PostgreSQL did not answer"):
        away.seen()
