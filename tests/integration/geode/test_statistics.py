"""The statistics in a real Geode: exactly once, however bars are cut, repeated or interrupted."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from common.clients.geode import MINUTES, STATISTICS, Geode
from common.clients.statistics import WINDOW_MINUTES, all_statistics, minute_key, statistics_key, statistics_of
from common.event_ids import StreamName
from common.settings import Settings
from common.topics import CANDLES
from spark.streaming.candle_topic import CandleTopic
from spark.streaming.queries import streaming_queries
from spark.streaming.statistics import StatisticsBar, statistics
from spark.streaming.statistics_sink import StatisticsStore
from spark.streaming.store_retry import retry_until_up
from tests.conftest import Stack
from tests.eventually import eventually
from tests.faults.processes import answers, kill_program
from tests.unit.spark.streaming.test_statistics import bar

pytestmark = pytest.mark.integration

BTC = StreamName("spot", "BTCUSDT", "aggTrade")
ETH = StreamName("spot", "ETHUSDT", "aggTrade")
BNB = StreamName("spot", "币安人生USDT", "aggTrade")


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up("geode")


@pytest.fixture
def geode(settings: Settings) -> Iterator[Geode]:
    """Yield a client of a Geode without statistics."""
    with Geode.of(settings, "writer") as client:
        for region in (STATISTICS, MINUTES):
            client.delete(region, client.keys(region))
        yield client


def market(stream: StreamName, minutes: int) -> list[StatisticsBar]:
    """Return bars of a stream; each has two versions, of which the second is whole."""
    numbers = random.Random(str(stream))
    return [bar(minute, price=numbers.randint(1, 99), events=events) for minute in range(minutes) for events in (1, 2)]


def in_window(bars: list[StatisticsBar]) -> list[StatisticsBar]:
    """Return the last version of each bar of the window."""
    last = {one.minute_us: one for one in bars}
    return [last[at] for at in sorted(last)[-WINDOW_MINUTES:]]


def require_exactly(geode: Geode, expected: dict[StreamName, list[StatisticsBar]]) -> None:
    """Compare everything that the store holds with what it should hold."""
    assert all_statistics(geode) == [statistics(stream, in_window(bars)) for stream, bars in expected.items()]
    minutes = {minute_key(stream, one.minute_us) for stream, bars in expected.items() for one in in_window(bars)}
    assert set(geode.keys(MINUTES)) == minutes


def test_any_cut_repeat_and_restart_gives_the_same_statistics(geode: Geode) -> None:
    bars = {BTC: market(BTC, 1600), BNB: market(BNB, 30)}
    store = StatisticsStore(geode)

    for at in range(0, 3200, 400):
        batch = {stream: of_stream[max(0, at - 100) : at + 400] for stream, of_stream in bars.items()}
        store.apply({stream: given for stream, given in batch.items() if given})
        if at == 1600:
            store = StatisticsStore(geode)  # the driver was started again

    require_exactly(geode, bars)


def test_a_batch_whose_write_ended_half_way_is_repaired_by_its_repeat(geode: Geode) -> None:
    first, second = [bar(minute) for minute in range(10)], [bar(1445, price=7), bar(3)]
    StatisticsStore(geode).apply({BTC: first})
    geode.put_all(MINUTES, {minute_key(BTC, one.minute_us): one.to_entry(BTC) for one in second})  # then it was killed

    StatisticsStore(geode).apply({BTC: second})

    require_exactly(geode, {BTC: [*first, *second][6:-1]})


def test_minutes_that_a_killed_driver_left_behind_are_removed(geode: Geode) -> None:
    StatisticsStore(geode).apply({BTC: [bar(5000)]})
    geode.put_all(MINUTES, {minute_key(BTC, one.minute_us): one.to_entry(BTC) for one in [bar(7), bar(8)]})

    StatisticsStore(geode).apply({BTC: [bar(5001)]})

    require_exactly(geode, {BTC: [bar(5000), bar(5001)]})


def test_windows_that_do_not_fit_into_memory_are_read_again(geode: Geode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spark.streaming.statistics_sink.MOST_WINDOWS", 1)
    store = StatisticsStore(geode)

    for minute in range(6):
        for stream in (BTC, ETH):
            store.apply({stream: [bar(minute)]})

    require_exactly(geode, {stream: [bar(minute) for minute in range(6)] for stream in (BTC, ETH)})


def test_a_symbol_that_jumps_over_days_leaves_no_minute_behind(geode: Geode) -> None:
    StatisticsStore(geode).apply({ETH: [bar(minute) for minute in range(5)]})

    StatisticsStore(geode).apply({ETH: [bar(100_000)]})

    require_exactly(geode, {ETH: [bar(100_000)]})


def test_kill_9_in_the_middle_of_writes_loses_and_repeats_nothing(settings: Settings, geode: Geode) -> None:
    bars = {stream: market(stream, 1500) for stream in (BTC, ETH)}
    store, stop = StatisticsStore(geode), threading.Event()
    written: list[int] = []

    def write() -> None:
        for at in range(0, 3000, 60):
            batch = {stream: of_stream[at : at + 60] for stream, of_stream in bars.items()}
            retry_until_up(lambda given=batch: store.apply(given), query="statistics", stop=stop)  # type: ignore[misc]
            written.append(at)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for batches in (5, 25):
            eventually(lambda least=batches: len(written) >= least, timeout_s=240)  # type: ignore[misc]
            kill_program("geode")
            eventually(lambda: answers("geode"), timeout_s=240, every_s=0.5)
        thread.join(timeout=600)
    finally:
        stop.set()
        thread.join()

    assert len(written) == 50
    require_exactly(geode, bars)


def test_the_query_fills_geode_from_kafka(stack: Stack, spark: SparkSession, geode: Geode, tmp_path: Path) -> None:
    settings = stack.up("kafka", "registry", "geode")
    topic = CandleTopic(settings)
    start = datetime(2024, 3, 1, tzinfo=UTC)
    for events in (1, 2):  # each bar grows once
        topic.send(candle(start + timedelta(minutes=minute), minute + 1, events) for minute in range(1500))
    query = next(one for one in streaming_queries(settings, threading.Event()) if one.name == "statistics")
    source = spark.readStream.format("kafka").option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)

    for _ in range(2):  # the second run reads everything again, as after the loss of its checkpoint
        records = source.option("subscribe", CANDLES).option("startingOffsets", "earliest").load()
        run = records.writeStream.foreachBatch(query.run).trigger(availableNow=True)
        checkpoint = tmp_path / f"checkpoint{len(list(tmp_path.iterdir()))}"
        run.option("checkpointLocation", str(checkpoint)).start().awaitTermination()

    found = statistics_of(geode, BTC)
    assert found is not None
    assert {name: found[name] for name in ("from", "until", "open", "close", "high", "low", "minutes")} == {
        **{"from": "2024-03-01T01:00:00Z", "until": "2024-03-02T01:00:00Z", "minutes": "1440"},
        **{"open": "61.00000000", "close": "1500.00000000", "high": "1500.00000000", "low": "61.00000000"},
    }
    assert found["quote_volume"] == f"{2 * sum(range(61, 1501))}.0000000000000000"
    assert (found["trades"], found["agg_trades"]) == ("5760", "2880")
    assert (found["first_trade_id"], found["last_trade_id"]) == ("1", "2")
    assert found["change_percent"] == "2359.01639344"
    assert geode.get(STATISTICS, statistics_key(ETH)) is None


def candle(open_time: datetime, price: int, events: int) -> dict[str, Any]:
    """Return a row of market.candles_1m: each event is a trade of one coin."""
    amounts = {"volume": events, "quote_volume": events * price, "vwap": price, "taker_buy_volume": 0}
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return {
        **{"market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade", "open_time": open_time},
        **{name: Decimal(value) for name, value in (prices | amounts | {"taker_buy_quote_volume": 0}).items()},
        **{"trades": 2 * events, "agg_trades": events, "open_trade_id": 1, "close_trade_id": events},
    }
