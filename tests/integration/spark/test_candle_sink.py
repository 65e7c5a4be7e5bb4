"""Candles in a real PostgreSQL: exactly once, however the trades are cut, ordered or repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from common.clients.postgres import read_only
from common.errors import StoreUnavailable
from common.settings import REPO, Settings
from spark.streaming.candle_sink import CandleStore, ConcurrentApply
from spark.streaming.partial_sums import Ranges, SymbolStream, partials
from tests.conftest import Stack
from tests.unit.spark.streaming.test_partial_sums import facts
from tests.unit.spark.trades import MINUTE_US, Trade, candle
from tickhouse.checks.reconcile import postgres
from tickhouse.checks.reconcile.bars import bars_of
from tickhouse.checks.reconcile.model import CheckedStream as Key
from tickhouse.checks.reconcile.model import CheckedTrade as Canonical

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
    """Return the fresh partial sums of trades of one stream, as the tasks of a batch do."""
    stream = SymbolStream(trades[0].market, trades[0].symbol, trades[0].stream)
    return [row for row in partials(map(facts, trades), {stream: seen or []}) if row["is_fresh"]]


def applied(store: CandleStore, stream: SymbolStream) -> Ranges:
    """Return which of the first 100,000 ids of a stream are in the candles."""
    ids = {**stream._asdict(), "ids": [{"lo": 1, "hi": 100_000}]}
    return store.applied([ids]).get(stream, [])


def bars(settings: Settings, symbol: str) -> dict[int, dict[str, Any]]:
    with psycopg.connect(settings.database_dsn("reader"), row_factory=dict_row) as connection:
        rows = connection.execute("SELECT * FROM market.candles_1m WHERE symbol = %s", [symbol]).fetchall()
    return {int(row["open_time"].timestamp()) * 1_000_000 // MINUTE_US: row for row in rows}


def test_contracts_give_the_bars_that_the_checker_computes(settings: Settings, store: CandleStore) -> None:
    """On COIN-M volume counts contracts, and quote volume is in base coin (ADR 0018)."""
    rng = random.Random(5)
    keys = [Key("coinm", "BTCUSD_240628", "aggTrade"), Key("coinm", "ADAUSD_PERP", "trade")]
    trades = [
        Trade(
            n,
            price=f"{rng.randrange(40_000, 42_000)}.{rng.randrange(1, 10)}"
            if key == keys[0]
            else f"0.{n % 97 + 41_000}",
            qty=str(rng.randrange(1, 300)),
            side=rng.choice(("BUY", "SELL")),
            time_us=n * (MINUTE_US // 20),
            symbol=key.symbol,
            market=key.market,
            stream=key.stream,
        )
        for key in keys
        for n in range(1, 60)
    ]
    rng.shuffle(trades)
    for low in range(0, len(trades), 17):
        store.apply([row for row in partials(map(facts, trades[low : low + 17]), {}) if row["is_fresh"]])

    with read_only(settings.database_dsn("reader")) as connection:
        found = {(bar.key, bar.open_time_us): bar for bar in postgres.bars(connection) if bar.key in keys}
    assert found == bars_of(canonical(one) for one in trades)
    assert all(bar.low - 1 <= bar.vwap // 10**8 <= bar.high for bar in found.values())


def canonical(one: Trade) -> Canonical:
    price, qty = (int(Decimal(text).scaleb(8)) for text in (one.price, one.qty))
    first = one.trade_id * 100
    key = Key(one.market, one.symbol, one.stream)
    return Canonical(key, one.trade_id, first, first + one.singles - 1, price, qty, one.side, one.time_us)


@pytest.mark.parametrize("seed", range(4))
def test_any_delivery_gives_the_bars_by_definition(settings: Settings, store: CandleStore, seed: int) -> None:
    rng = random.Random(seed)
    symbol = f"SEED{seed}USDT"
    stream = SymbolStream("spot", symbol, "aggTrade")
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
        store.apply(fresh(batch, store.applied(fresh(batch)).get(stream)))

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
    assert applied(store, stream) == [(1, 199)]


def test_partials_of_one_bar_from_several_tasks_add_up(settings: Settings, store: CandleStore) -> None:
    trades = [Trade(n, price=str(n * 7 % 10 + 1), symbol="TASKUSDT", singles=n) for n in range(1, 10)]
    store.apply([row for task in range(3) for row in fresh(trades[task::3])])
    (bar,) = bars(settings, "TASKUSDT").values()
    expected = candle(trades)
    expected["agg_trades"] = expected.pop("events")
    expected["checksum"] %= 2**64
    assert {name: bar[name] for name in expected} == expected
    assert applied(store, SymbolStream("spot", "TASKUSDT", "aggTrade")) == [(1, 9)]


def test_ids_applied_meanwhile_are_refused_whole(settings: Settings, store: CandleStore) -> None:
    one, two, three = (Trade(n, symbol="RACEUSDT") for n in (1, 2, 3))
    store.apply(fresh([one, three]))
    before = bars(settings, "RACEUSDT")
    with pytest.raises(ConcurrentApply):
        store.apply(fresh([two, three]))
    assert bars(settings, "RACEUSDT") == before
    store.apply(fresh([two, three], seen=[(1, 1), (3, 3)]))
    assert applied(store, SymbolStream("spot", "RACEUSDT", "aggTrade")) == [(1, 3)]


def test_ids_that_skip_are_kept_in_blocks_and_only_those_asked_for_are_read(
    settings: Settings, store: CandleStore
) -> None:
    sparse = [Trade(n, symbol="SKIPUSDT", time_us=n * 1000) for n in range(1, 40_001, 2)]
    stream = SymbolStream("spot", "SKIPUSDT", "aggTrade")
    for at in range(0, len(sparse), 5_000):
        store.apply(fresh(sparse[at : at + 5_000]))
    with psycopg.connect(settings.database_dsn("reader")) as connection:
        query = "SELECT block, (SELECT count(*) FROM unnest(seen)) FROM market.trade_ranges WHERE symbol = 'SKIPUSDT'"
        assert sorted(connection.execute(query).fetchall()) == [(0, 8_192), (1, 8_192), (2, 3_616)]
    assert store.applied(fresh([Trade(n, symbol="SKIPUSDT") for n in (8, 9, 10, 16_383, 16_384)])) == {
        stream: [(9, 9), (16_383, 16_383)]
    }
    dense = [Trade(n, symbol="SKIPUSDT", time_us=n * 1000) for n in range(1, 40_001)]
    store.apply(fresh(dense, store.applied(fresh(dense))[stream]))
    assert applied(store, stream) == [(1, 40_000)]
    assert sum(row["agg_trades"] for row in bars(settings, "SKIPUSDT").values()) == 40_000


def test_id_sets_of_an_earlier_version_are_split_into_blocks(settings: Settings) -> None:
    """Restore the table of migration 001 with two streams, then migrate; the test rolls back."""
    sql = (REPO / "stack" / "postgres" / "migrations" / "004_trade_id_blocks.sql").read_text()
    with psycopg.connect(settings.database_dsn("owner")) as connection:
        for statement in (
            "DROP CONSTRAINT trade_ranges_pkey",
            "DROP COLUMN block",
            "ADD PRIMARY KEY (market, symbol, stream)",
        ):
            connection.execute("DELETE FROM market.trade_ranges")
            connection.execute(f"ALTER TABLE market.trade_ranges {statement}")  # type: ignore[arg-type]
        insert = "INSERT INTO market.trade_ranges (market, symbol, stream, seen) VALUES ('spot', %s, 'aggTrade', %s)"
        connection.execute(insert, ["ONEUSDT", "{[1,9),[16380,16390),[3000000000,3000000001)}"])
        connection.execute(insert, ["TWOUSDT", "{}"])
        connection.execute(sql.encode())
        rows = connection.execute("SELECT symbol, block, seen::text FROM market.trade_ranges ORDER BY 1, 2").fetchall()
        connection.rollback()
    assert rows == [
        ("ONEUSDT", 0, "{[1,9),[16380,16384)}"),
        ("ONEUSDT", 1, "{[16384,16390)}"),
        ("ONEUSDT", 183105, "{[3000000000,3000000001)}"),
    ]


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
        away.applied(fresh([Trade(1)]))
