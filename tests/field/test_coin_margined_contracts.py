"""COIN-M quantities are contracts: volumes, averages and turnover equal those of Binance's klines.

Right value of the field file: 500 trades, 19,831 contracts = 198,310 US dollars = 480,954.525 ADA.
"""

from __future__ import annotations

import asyncio
import csv
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import httpx
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.fs import LocalFileSystem
from pyspark.sql import DataFrame, SparkSession

from common.clients.lake_files import RefFiles
from common.days import Days
from common.errors import ConfigurationError
from producer.exchange.contract_sizes import ContractSizeCheck
from producer.exchange.rest import RestClient
from schemas.contracts import contract_size, disagreement, quote_quantity, size_of, vwap
from spark import transforms
from spark.batch.files import LakeFiles
from spark.batch.job import Batch
from spark.streaming.decode import reject_out_of_range
from spark.streaming.partial_sums import SymbolStream as SumKey
from spark.streaming.partial_sums import TradeFacts, partials
from spark.streaming.redis_sink import LatestTrade, advance
from tests.lakes import bronze_files, rows_of, write
from tests.shared_files import field_file
from tickhouse.checks.audit.great_expectations_run import run_checkpoint
from tickhouse.checks.audit.lake_views import EXPECTATIONS
from tickhouse.checks.audit.run import lake_laws
from tickhouse.checks.reconcile import contract_turnover as checker
from tickhouse.checks.reconcile import gold, latest_prices
from tickhouse.checks.reconcile.bars import bars_of
from tickhouse.checks.reconcile.kafka_records import enriched_fault
from tickhouse.checks.reconcile.lake_bronze import LakeReader
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade
from tickhouse.checks.reconcile.store_result import StoreResult

SCALE, QUOTE_SCALE = 10**8, 10**16
EXACT = Context(prec=100)
DAY = date(2026, 1, 5)
DAYS = Days(DAY, DAY)
NOON_US = 1_767_614_400_000_000  # 2026-01-05T12:00Z
ADA = CheckedStream("coinm", "ADAUSD_PERP", "trade")
BTC = CheckedStream("coinm", "BTCUSD_240628", "aggTrade")
LINEAR = CheckedStream("usdm", "BTCUSDT", "aggTrade")


def trade(key: CheckedStream, number: int, price: str, qty: int, second: int = 0) -> CheckedTrade:
    side = "BUY" if number % 3 else "SELL"
    units = int(Decimal(price) * SCALE)
    return CheckedTrade(key, number, number, number, units, qty * SCALE, side, NOON_US + second * 10**6)


def made() -> list[CheckedTrade]:
    """Return trades of COIN-M and USD-M, void trades, and prices that do not divide evenly."""
    ada = [trade(ADA, n, f"0.{41231 + n % 13}", 1 + n % 55, n % 180) for n in range(300)]
    btc = [trade(BTC, n, f"{93_000 + n % 7}.{n % 10}", 1 + n % 3, n % 200) for n in range(200)]
    usdm = [trade(LINEAR, n, f"{93_000 + n % 5}.1", 2, n % 60) for n in range(50)]
    void = [trade(ADA, 300, "0", 0), trade(BTC, 200, "93000", 0)]
    return [*ada, *btc, *usdm, *void]


def reported() -> list[CheckedTrade]:
    """Return the trades of the field file; column `base_qty` is not used."""
    with field_file("ADAUSD_PERP-trades-2026-01-05.csv").open() as stream:
        return [
            CheckedTrade(
                ADA, int(row["id"]), int(row["id"]), int(row["id"]), int(Decimal(row["price"]) * SCALE),
                int(row["qty"]) * SCALE, "SELL" if row["is_buyer_maker"] == "true" else "BUY", int(row["time"]) * 1000,
            )
            for row in csv.DictReader(stream)
        ]  # fmt: skip


def facts(one: CheckedTrade) -> TradeFacts:
    return TradeFacts(
        one.event_id, SumKey(*one.key), one.trade_id, one.last_id - one.first_id + 1, one.price, one.qty, one.side,
        one.time_us,
    )  # fmt: skip


def units(value: Decimal, places: int) -> int:
    return int(value.scaleb(places, EXACT))


@pytest.mark.parametrize(
    ("symbol", "dollars"),
    [
        *(("BTCUSD_PERP", 100), ("BTCUSD_240628", 100), ("BTCUSD_200925", 100)),
        *(("ADAUSD_PERP", 10), ("ETHUSD_240628", 10), ("1000SHIBUSD_PERP", 10), ("WBTCUSD_PERP", 10)),
    ],
)
def test_a_contract_has_its_size(symbol: str, dollars: int) -> None:
    assert contract_size(symbol) == checker.dollars_per_contract(symbol) == dollars


def test_other_markets_have_no_contracts() -> None:
    assert size_of("usdm", "BTCUSDT_240628") is None
    assert quote_quantity("spot", "BTCUSDT", 3, 7) == 21
    assert quote_quantity("usdm", "BTCUSDT", -3, 7) == -21


@given(st.integers(1, 10**28 - 1), st.integers(1, 10**28 - 1), st.sampled_from([ADA, BTC]))
def test_base_coin_is_the_exact_quotient_rounded_half_up(price: int, qty: int, key: CheckedStream) -> None:
    exact = Fraction(qty * contract_size(key.symbol), price) * QUOTE_SCALE
    rounded = (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    wanted = rounded if 0 < rounded < 10**38 and price < 10**22 else None

    assert quote_quantity(key.market, key.symbol, price, qty) == wanted
    assert checker.quote_quantity(CheckedTrade(key, 1, 1, 1, price, qty, "BUY", NOON_US)) == rounded


@settings(max_examples=30)
@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 100), max_size=4))
def test_sums_do_not_depend_on_how_the_batch_is_cut(random: Random, places: list[int]) -> None:
    trades = random.sample(made(), 100)
    cuts = sorted({0, len(trades), *places})
    totals: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for low, high in pairwise(cuts):
        for row in partials(map(facts, trades[low:high]), {}):
            total = totals[row["market"], row["symbol"], row["stream"], row["minute_us"]]
            total[0] += units(row["volume"], 8)
            total[1] += units(row["quote_volume"], 16)
    bars = bars_of(trades)

    assert {key: total for key, total in totals.items() if total[0]} == {
        (*bar.key, bar.open_time_us): [bar.volume, bar.quote_volume] for bar in bars.values()
    }


def test_the_reported_file_is_worth_what_its_contracts_are() -> None:
    trades = reported()
    rows = partials(map(facts, trades), {})

    assert sum(row["events"] for row in rows) == 500

    contracts = sum(row["volume"] for row in rows)
    coins = sum((row["quote_volume"] for row in rows), Decimal(0))

    assert contracts == 19_831
    assert contracts * 10 == 198_310
    assert coins.quantize(Decimal("0.001")) == Decimal("480954.525")

    exact = sum(Fraction(one.qty * 10, one.price) for one in trades)
    assert abs(Fraction(coins) - exact) < Fraction(500, 2 * QUOTE_SCALE)

    bars = bars_of(trades).values()
    assert sum(bar.quote_volume for bar in bars) == units(coins, 16)
    assert sum(bar.taker_buy_volume for bar in bars) == sum(one.qty for one in trades if one.side == "BUY")


def test_a_vwap_is_a_price_on_every_market() -> None:
    for bar in bars_of([*made(), *[trade(ADA, 5000, "0.4", 1, 600)]]).values():
        volume, quote = (
            Decimal(number).scaleb(-places, EXACT) for number, places in ((bar.volume, 8), (bar.quote_volume, 16))
        )
        average = vwap(volume, quote, size_of(bar.key.market, bar.key.symbol))
        assert average is not None
        assert units(average, 16) == bar.vwap
        # A nano-dollar is what the rounded coins may cost.
        assert bar.low * SCALE - 10**8 <= bar.vwap <= bar.high * SCALE + 10**8


def test_redis_has_the_same_average() -> None:
    trades = [one for one in made() if one.key == BTC]
    last: LatestTrade | None = advance(None, partials(map(facts, trades), {}))
    assert last is not None

    wanted = latest_prices.expected_hashes(trades)[BTC]
    assert {name: Decimal(last.to_hash()[name]) for name in wanted if name.startswith("minute_")} == {
        name: Decimal(value) for name, value in wanted.items() if name.startswith("minute_")
    }


def frame(spark: SparkSession, trades: Sequence[CheckedTrade]) -> DataFrame:
    rows = [
        (n, *one.key, Decimal(one.price).scaleb(-8, EXACT), Decimal(one.qty).scaleb(-8, EXACT))
        for n, one in enumerate(trades)
    ]
    return spark.createDataFrame(
        rows, "n int, market string, symbol string, stream string, price decimal(28,8), qty decimal(28,8)"
    )


def edges() -> list[CheckedTrade]:
    """Return ties at the last digit, carries, extreme numbers and void trades of three markets."""
    pairs = [
        *((2**power * SCALE, SCALE) for power in range(0, 67, 3)),
        *((3 * SCALE, n * SCALE) for n in range(1, 8)),
        *((10**22 - 1, 5 * 10**21), (10**22, SCALE), (10**22 - 3, 10**20)),
        *((10**28 - 1, 1), (1, 10**28 - 1), (10**28 - 1, 10**28 - 1), (1, 10**14), (10**8 - 1, 10**22)),
        *((0, SCALE), (SCALE, 0), (-SCALE, SCALE), (7, 0), (3, 1), (41_231_000, 300_000_000)),
    ]
    keys = (ADA, BTC, LINEAR)
    return [
        CheckedTrade(key, n, n, n, price, qty, "BUY", NOON_US) for key in keys for n, (price, qty) in enumerate(pairs)
    ]


def test_spark_divides_as_exactly(spark: SparkSession) -> None:
    trades = edges()
    rows = frame(spark, trades).select("n", transforms.quote_qty().alias("quote_qty")).collect()
    found = {row.n: None if row.quote_qty is None else units(row.quote_qty, 16) for row in rows}
    wanted = {n: quote_quantity(one.key.market, one.key.symbol, one.price, one.qty) for n, one in enumerate(trades)}

    assert found == wanted
    assert None in wanted.values()


def test_the_audits_own_sql_divides_as_exactly() -> None:
    connection = duckdb.connect()
    connection.execute(
        "CREATE MACRO contract_size(name) AS CASE split_part(name, '_', 1) WHEN 'BTCUSD' THEN 100 ELSE 10 END"
    )
    connection.execute((EXPECTATIONS / "macros.sql").read_text())
    query = "SELECT base_coin($1, $2::DECIMAL(28,8), $3::DECIMAL(28,8))"
    for one in (one for one in edges() if one.key.market == "coinm"):
        coins = checker.quote_quantity(one)
        values = [one.key.symbol, Decimal(one.price).scaleb(-8, EXACT), Decimal(one.qty).scaleb(-8, EXACT)]
        if coins < 10**38:
            assert connection.execute(query, values).fetchone() == (coins,), one


def test_a_quote_quantity_out_of_range_is_a_dead_letter_and_in_no_sum(spark: SparkSession) -> None:
    dear, huge = (
        CheckedTrade(ADA, 1, 1, 1, 10**28 - 1, SCALE, "BUY", NOON_US),
        CheckedTrade(ADA, 2, 2, 2, 1, 10**28 - 1, "BUY", NOON_US),
    )
    decoded = frame(spark, [dear, huge, *made()[:3]]).selectExpr("struct(*) record", "cast(null as string) reason")
    reasons = [row.reason for row in reject_out_of_range(decoded).orderBy("record.n").collect()]

    assert reasons == ["quote_qty_out_of_range"] * 2 + [None] * 3
    assert [facts(one).quote for one in (dear, huge)] == [None, None]


def test_the_checker_compares_the_quote_quantity_of_a_document() -> None:
    one = trade(ADA, 1, "0.41231", 3)
    fields = {
        "base": "ADA", "quote": "USD", "pair": "ADA-USD", "is_sentinel": False, "minute": one.minute_us,
        "quote_qty": 727_607_867_866_411_195,
    }  # fmt: skip

    assert enriched_fault(fields, one) == ""
    assert "quote_qty" in enriched_fault(fields | {"quote_qty": one.price * one.qty}, one)


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contracts")
    write(folder, bronze_files(rows_of(made())))
    Batch(spark, LakeFiles.local(folder)).run(DAYS)
    return folder


def rows(folder: Path, table: str) -> dict[str, dict[str, Any]]:
    paths = sorted((folder / "gold" / table).rglob("*.parquet"))
    found = [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]
    return {row["symbol"]: row for row in found}


def test_gold_of_every_interval_is_what_the_checker_computes(lake: Path) -> None:
    for interval in gold.INTERVALS_US:
        verdict = StoreResult(interval)
        gold.compare(gold.read(_lake(lake), interval), gold.expected(made(), interval), verdict)
        assert verdict.faults == StoreResult(interval).faults
        assert verdict.examples == StoreResult(interval).examples
        assert verdict.delivered


def _lake(folder: Path) -> LakeReader:
    return LakeReader(LocalFileSystem(), str(folder))


def _files(folder: Path) -> RefFiles:
    return RefFiles(LocalFileSystem(), str(folder))


def test_months_and_sessions_have_prices_as_averages(lake: Path) -> None:
    for table, column in (("monthly", "vwap"), ("vwap", "session_vwap"), ("candles_1d", "vwap")):
        found = rows(lake, table)
        assert Decimal("0.41") < found["ADAUSD_PERP"][column] < Decimal("0.42"), table
        assert 93_000 < found["BTCUSD_240628"][column] < 93_010, table
        assert 93_000 < found["BTCUSDT"][column] < 93_010, table


def test_turnover_of_contracts_is_compared_in_dollars(lake: Path) -> None:
    movers = rows(lake, "top_movers")
    ada, btc = movers["ADAUSD_PERP"], movers["BTCUSD_240628"]

    # 200 trades of 2 contracts of 100 dollars turn over less than 300 of 28 of 10, and far fewer
    # coins.
    assert ada["quote_volume"] > btc["quote_volume"]

    dollars = {key.symbol: sum(t.qty * contract_size(key.symbol) for t in made() if t.key == key) for key in (ADA, BTC)}
    first = max(dollars, key=lambda symbol: dollars[symbol])

    assert movers[first]["rank_turnover"] == 1
    assert {ada["rank_turnover"], btc["rank_turnover"]} == {1, 2}


def test_the_audit_knows_what_contracts_turned_over(lake: Path, tmp_path: Path) -> None:
    tables = lake_laws(_files(lake), DAYS, _files(lake).bronze("trades"), [])
    outcomes = run_checkpoint(tables, "contracts", tmp_path / "site")

    assert [str(one) for one in outcomes if one.is_broken and one.severity == "critical"] == []
    assert any(one.outcome == "passed" for one in outcomes if one.suite == "silver")

    coinm = tables["silver"][tables["silver"]["market"] == "coinm"]
    assert list(coinm["wrong_quote_qty"]) == [0, 0]


def test_the_audit_sees_a_wrong_last_digit(lake: Path, tmp_path: Path) -> None:
    (path,) = (lake / "silver").rglob("*.parquet")
    body = path.read_bytes()
    table = pq.read_table(path, partitioning=None)
    try:
        values = table["quote_qty"].to_pylist()
        ids = table["event_id"].to_pylist()
        at = next(n for n, one in enumerate(ids) if one.startswith("binance:coinm:ADA") and values[n])
        values[at] += Decimal("1e-16")
        changed = _with(table, values)
        pq.write_table(changed, path)
        tables = lake_laws(_files(lake), DAYS, _files(lake).bronze("trades"), [])
        broken = [one for one in run_checkpoint(tables, "wrong", tmp_path / "site") if one.is_broken]
    finally:
        path.write_bytes(body)

    assert any(one.law.startswith("quote quantity =") for one in broken)


def _with(table: Any, values: list[Decimal]) -> Any:
    import pyarrow as pa

    at = table.column_names.index("quote_qty")
    return table.set_column(at, "quote_qty", pa.array(values, pa.decimal128(38, 16)))


INFO = {
    "symbols": [
        {"symbol": "BTCUSD_PERP", "contractStatus": "TRADING", "contractSize": 100},
        {"symbol": "ADAUSD_PERP", "contractStatus": "TRADING", "contractSize": 10},
        {"symbol": "NEWUSD_PERP", "contractStatus": "TRADING", "contractSize": 50},
        {"symbol": "OLDUSD_240628", "contractStatus": "DELIVERED", "contractSize": 10},
    ]
}


class _Clock:
    def __call__(self) -> float:
        return 1_000_000.0


def client(answer: Any = INFO, status: int = 200) -> RestClient:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json=answer))
    return RestClient(httpx.AsyncClient(transport=transport), "http://exchange.test", "coinm", clock=_Clock())


def test_a_symbol_of_another_size_is_not_taken_and_stops_no_other() -> None:
    info = asyncio.run(client().exchange_info())
    assert info.trading() == ["BTCUSD_PERP", "ADAUSD_PERP"]
    assert list(info.wrong_sizes()) == ["NEWUSD_PERP"]
    assert "`NEWUSD: 50`" in disagreement("NEWUSD_PERP", 50)
    assert disagreement("ADAUSD_PERP", 10) == ""


@pytest.mark.parametrize(
    ("asked", "taken"), [(["ADAUSD_PERP", "NEWUSD_PERP"], ["ADAUSD_PERP"]), (["BTCUSD_PERP"], ["BTCUSD_PERP"])]
)
def test_symbols_that_were_asked_for_are_compared_too(asked: list[str], taken: list[str]) -> None:
    assert asyncio.run(ContractSizeCheck(client(), "coinm").with_matching_size(asked)) == taken


def test_nothing_starts_when_no_symbol_is_left() -> None:
    with pytest.raises(ConfigurationError, match=r"schemas/contract_sizes\.yaml"):
        asyncio.run(ContractSizeCheck(client(), "coinm").with_matching_size(["NEWUSD_PERP"]))


def test_an_exchange_without_contract_sizes_stops_nothing() -> None:
    assert asyncio.run(ContractSizeCheck(client({}, 404), "coinm").with_matching_size(["NEWUSD_PERP"])) == [
        "NEWUSD_PERP"
    ]
