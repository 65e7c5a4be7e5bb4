"""`tickhouse.read` on a lake in a folder: rows, files that are opened, errors."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

from common.errors import ConfigurationError, PrerequisiteMissing, StoreUnavailable
from common.market_kind import BANNER
from tests.lakes import MIDNIGHT_US, THE_8TH, THE_9TH, market, moment
from tests.unit.tickhouse.read.published_lake import candle_row, publish, silver_row
from tickhouse import read
from tickhouse.checks.reconcile import gold
from tickhouse.read.lake_at_commit import LakeAtCommit
from tickhouse.read.lake_rows import LakeRows
from tickhouse.read.lake_tables import INTERVALS, runs_of, time_span

COMMIT = "c0ffee" * 10 + "c0ff"
BOTH = {"start": THE_8TH, "end": "2024-08-10"}
BTC: dict[str, Any] = {"symbol": "BTCUSDT", "market": "spot"}


class Recorded(FSSpecHandler):  # type: ignore[misc]
    """A handler of Arrow that counts how often each file is opened."""

    opened: Counter[str]

    def open_input_file(self, path: str) -> Any:
        self.opened[path] += 1
        return super().open_input_file(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lake")
    publish(made, market())
    return made


@pytest.fixture
def opened() -> Counter[str]:
    return Counter()


@pytest.fixture(autouse=True)
def lake(folder: Path, opened: Counter[str], monkeypatch: pytest.MonkeyPatch) -> LakeAtCommit:
    """Let `tickhouse.read` open the lake of the folder, whatever the reference."""
    from fsspec.implementations.local import LocalFileSystem as LocalFiles

    handler = Recorded(LocalFiles())
    handler.opened = opened
    at = LakeAtCommit(COMMIT, PyFileSystem(handler), str(folder), BANNER)
    monkeypatch.setattr(read, "open_lake", lambda as_of, home: at)
    return at


@pytest.mark.parametrize("interval", INTERVALS)
def test_candles_are_those_of_the_checker_to_the_last_digit(interval: str) -> None:
    found = read.candles(**BTC, interval=interval, **BOTH)

    wanted = [
        candle_row(one) for key, one in gold.expected(market(), interval).items() if key[:2] == ("spot", "BTCUSDT")
    ]
    assert found.arrow().to_pylist() == wanted
    assert wanted


def test_trades_are_each_event_once_by_time_then_id() -> None:
    found = read.trades(**BTC, **BOTH, include_sentinels=True)

    of_symbol = [one for one in market() if one.key[:2] == ("spot", "BTCUSDT")]
    wanted = sorted(of_symbol, key=lambda one: (one.time_us, one.key.stream, one.trade_id))
    assert found.arrow().to_pylist() == [silver_row(one) for one in wanted]
    without = read.trades(**BTC, **BOTH, columns=["trade_id", "price"]).arrow().to_pylist()
    assert len(without) == len(wanted) - 1
    assert all(row["price"] > 0 for row in without)


@settings(max_examples=20)
@given(st.integers(-8, 16), st.integers(1, 20))
def test_a_range_has_its_start_and_not_its_end(folder: Path, first: int, length: int) -> None:
    start = moment(MIDNIGHT_US) + timedelta(minutes=first)
    end = start + timedelta(minutes=length)
    at = LakeAtCommit(COMMIT, LocalFileSystem(), str(folder))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(read, "open_lake", lambda as_of, home: at)
        times = read.candles(**BTC, start=start, end=end, columns=["open_time"]).arrow()["open_time"].to_pylist()
        rows = read.trades(**BTC, start=start, end=end).arrow()["trade_time"].to_pylist()

    every = [moment(key[2]) for key in gold.expected(market(), "1m") if key[:2] == ("spot", "BTCUSDT")]
    assert times == [time for time in every if start <= time < end]
    traded = (moment(one.time_us) for one in market() if one.key[:2] == ("spot", "BTCUSDT") and not one.is_sentinel)
    assert rows == sorted(time for time in traded if start <= time < end)


def test_only_files_of_the_wanted_days_and_hours_are_opened(folder: Path, opened: Counter[str]) -> None:
    read.candles(**BTC, start=THE_9TH, end="2024-08-10", columns=["close"])
    assert relative(opened, folder) == {"gold/candles_1m/date=2024-08-09/part-0.parquet"}

    opened.clear()
    found = read.trades(**BTC, start="2024-08-08T23:59", end="2024-08-09T00:00")
    assert relative(opened, folder) == {"silver/trades/date=2024-08-08/hour=23/part-0.parquet"} == set(found.files)


def relative(opened: Counter[str], folder: Path) -> set[str]:
    return {path.removeprefix(f"{folder}/") for path in opened}


def test_only_the_wanted_columns_are_read(tmp_path: Path, lake: LakeAtCommit, folder: Path) -> None:
    """The bytes of every other column are destroyed, and nobody notices."""
    import shutil

    import pyarrow.parquet as pq

    path = "gold/candles_1m/date=2024-08-08/part-0.parquet"
    (tmp_path / path).parent.mkdir(parents=True)
    shutil.copy(folder / path, tmp_path / path)
    kept = {"market", "symbol", "open_time", "close"}
    body, groups = bytearray((tmp_path / path).read_bytes()), pq.ParquetFile(folder / path).metadata.row_group(0)
    for chunk in map(groups.column, range(groups.num_columns)):
        if chunk.path_in_schema not in kept:
            first = chunk.dictionary_page_offset or chunk.data_page_offset
            body[first : first + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    (tmp_path / path).write_bytes(body)

    at = LakeAtCommit(COMMIT, LocalFileSystem(), str(tmp_path))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(read, "open_lake", lambda as_of, home: at)
        whole = {"start": THE_8TH, "end": THE_9TH}
        found = read.candles(**BTC, **whole, columns=["close"]).arrow()
        closes = "SELECT close FROM rows WHERE market = 'spot' AND symbol = 'BTCUSDT' ORDER BY open_time"
        queried = read.query(closes, table="candles_1m", **whole).arrow()
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            read.candles(**BTC, **whole)
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            read.query("SELECT sum(high) FROM rows", table="candles_1m", **whole)
    assert found["close"].to_pylist() == queried["close"].to_pylist() != []
    assert found.column_names == ["close"]


def test_a_result_says_what_it_is() -> None:
    found = read.candles(**BTC, **BOTH)

    assert found.commit_id == COMMIT
    assert found.is_simulated
    assert repr(found) == f"{BANNER}\n<{len(found)} rows of gold/candles_1m at commit {COMMIT}>"
    assert "SIMULATED" not in repr(LakeRows("gold/candles_1m", COMMIT, found.rows))


def test_types_are_exact_unless_floats_are_asked_for() -> None:
    found = read.candles(**BTC, **BOTH)
    schema, frame, floats = found.arrow().schema, found.pandas(), found.pandas(floats=True)

    assert schema.field("close").type == pa.decimal128(28, 8)
    assert schema.field("quote_volume").type == pa.decimal128(38, 16)
    assert schema.field("open_time").type == pa.timestamp("us", "UTC")
    assert isinstance(frame["close"].iloc[0], Decimal)
    assert str(frame["open_time"].dtype) == "datetime64[us, UTC]"
    assert str(floats["close"].dtype) == "float64"
    assert floats["close"].tolist() == pytest.approx([float(one) for one in frame["close"]], rel=1e-15)
    assert floats["trades"].tolist() == frame["trades"].tolist()


def test_without_polars_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(PrerequisiteMissing, match="pip install polars"):
        read.candles(**BTC, **BOTH).polars()


def test_polars_gets_the_same_values() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed: it is no dependency")
    found = read.candles(**BTC, **BOTH)

    assert isinstance(found.polars(), polars.DataFrame)
    assert found.polars()["close"].to_list() == found.arrow()["close"].to_pylist()
    assert found.polars(floats=True)["close"].dtype == polars.Float64


def test_latin_letters_may_be_in_any_case() -> None:
    assert len(read.candles("btcusdt", market="spot", **BOTH)) == len(read.candles(**BTC, **BOTH))


def test_days_of_a_table() -> None:
    assert read.days() == read.days("silver/trades") == [THE_8TH, THE_9TH]
    assert read.days("monthly") == []


def test_a_whole_table_has_every_market_and_sentinels() -> None:
    found = read.table("trades", **BOTH).arrow()

    assert len(found) == len(market())
    assert set(found["market"].to_pylist()) == {"spot", "usdm"}
    assert found["trade_time"].to_pylist() == sorted(found["trade_time"].to_pylist())


def test_a_query_sums_exactly_what_is_in_the_range() -> None:
    end = datetime(2024, 8, 8, 23, 57, tzinfo=UTC)
    sql = "SELECT market, symbol, sum(qty) AS qty, count(*) AS trades FROM rows GROUP BY ALL ORDER BY ALL"
    found = read.query(sql, table="trades", start=THE_8TH, end=end)

    inside = [one for one in market() if moment(one.time_us) < end]
    sums = {key: sum(one.qty for one in inside if one.key[:2] == key) for key in {one.key[:2] for one in inside}}
    assert {(row["market"], row["symbol"]): row["qty"] for row in found.arrow().to_pylist()} == {
        key: Decimal(qty).scaleb(-8) for key, qty in sums.items()
    }
    assert sum(found.arrow()["trades"].to_pylist()) == len(inside)
    assert (found.commit_id, found.table, found.banner) == (COMMIT, "silver/trades", BANNER)


def test_missing_days_are_named_or_skipped() -> None:
    wide: dict[str, Any] = {"start": "2024-08-01", "end": "2024-08-12"}
    with pytest.raises(
        ConfigurationError, match=r"2024-08-01\.\.2024-08-07, 2024-08-10\.\.2024-08-11\. It has 2, from"
    ):
        read.candles(**BTC, **wide)

    found = read.candles(**BTC, **wide, skip_missing_days=True)
    assert found.rows == read.candles(**BTC, **BOTH).rows
    assert len(found.missing_days) == 9
    assert "without 9 missing days" in repr(found)


def test_an_hour_without_trades_is_empty_and_keeps_the_columns() -> None:
    found = read.trades(**BTC, start="2024-08-08T03:00", end="2024-08-08T04:00")

    assert len(found) == 0
    assert found.arrow().column_names == read.trades(**BTC, **BOTH).arrow().column_names


Call = Callable[[], object]
WRONG: list[tuple[Call, str]] = [
    (lambda: read.candles("BTCUSD", market="spot", **BOTH), r"no symbol 'BTCUSD' on these days. The nearest: BTCUSDT"),
    (lambda: read.candles("XYZ", market="spot", **BOTH), "The nearest: BTCUSDT"),
    (lambda: read.candles("ВTCUSDT", market="spot", **BOTH), "The nearest: BTCUSDT"),  # noqa: RUF001
    (lambda: read.candles("BTCUSDT", market="coinm", **BOTH), r"Market spot, usdm has it\. The nearest: none"),
    (lambda: read.candles("BTCUSDT", market="swap", **BOTH), r"Expected a market of .*'spot', 'usdm', 'coinm'"),
    (lambda: read.candles(**BTC, interval="15m", **BOTH), "Expected an interval of 1m, 5m, 1h, 1d, was '15m'"),
    (lambda: read.candles(**BTC, columns=["prize"], **BOTH), "Expected a column of market, .*was 'prize'"),
    (lambda: read.candles(**BTC, start="2024-08-09", end="2024-08-08"), "Expected a start before the end"),
    (lambda: read.candles(**BTC, start=THE_8TH, end=THE_8TH), "Expected a start before the end"),
    (lambda: read.candles(**BTC, start="soon", end=THE_8TH), "Expected an ISO 8601 time"),
    (lambda: read.candles(**BTC, start=pd.NaT, end=THE_8TH), "Expected a time"),
    (lambda: read.candles(**BTC, start="2020-01-01", end="2020-01-02", skip_missing_days=True), "2020-01-01. It has 2"),
    (lambda: read.query("SELEC 1", table="trades", **BOTH), "DuckDB refuses the query: Parser Error"),
    (lambda: read.query("SELECT prize FROM rows", table="trades", **BOTH), "DuckDB refuses the query: Binder Error"),
    (lambda: read.query("FROM '/etc/passwd'", table="trades", **BOTH), "DuckDB refuses the query"),
    (
        lambda: read.query("SELECT symbol::int FROM rows", table="trades", **BOTH),
        "DuckDB refuses the query: Conversion",
    ),
    (lambda: read.query("", table="trades", **BOTH), "Expected a query that returns rows"),
    (lambda: read.table("candles", **BOTH), "Expected a table of trades, candles_1m"),
    (lambda: read.table("monthly", **BOTH), r"does not have these months: 2024-08\. It has none"),
]


@pytest.mark.parametrize(("call", "said"), WRONG)
def test_a_wrong_question_says_what_there_is(call: Call, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        call()


def test_a_home_without_a_lakehouse_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match="There is no lakehouse in"):
        read.days(home=tmp_path / "none")


@pytest.mark.parametrize(("name", "shift"), [("mine", 0), ("mine-demo", 200)])
def test_a_home_has_its_own_keys_and_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shift: int
) -> None:
    from common.settings import ports
    from tickhouse.read.lake_at_commit import settings_of

    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path / "other"))
    folder = tmp_path / name
    folder.mkdir()
    (folder / "secrets.env").write_text("LAKEFS_ACCESS_KEY_ID=mine\n")

    settings = settings_of(folder)
    assert settings.lakefs_access_key_id == "mine"
    assert settings.lakefs_endpoint == f"http://127.0.0.1:{ports()['lakefs'] + shift}"


def test_times_of_any_kind_are_utc() -> None:
    wanted = datetime(2024, 8, 8, 12, tzinfo=UTC)
    east = timezone(timedelta(hours=2))
    starts = (
        "2024-08-08T12:00", "2024-08-08T14:00+02:00", "1723118400000", datetime(2024, 8, 8, 12),
        datetime(2024, 8, 8, 14, tzinfo=east), pd.Timestamp("2024-08-08T12:00"), pd.Timestamp("2024-08-08T14:00+02:00"),
    )  # fmt: skip
    assert {time_span(start, "2024-08-09").start for start in starts} == {wanted}
    assert time_span(date(2024, 8, 8), "2024-08-09").start == datetime(2024, 8, 8, tzinfo=UTC)
    assert list(time_span("2024-08-08", "2024-08-09").days) == [THE_8TH]


def test_many_missing_days_are_a_short_text() -> None:
    days = [f"day{number:03d}" for number in range(100)]

    assert runs_of(days[3:7], days) == "day003..day006"
    assert runs_of(days[::2], days).endswith("and 42 more ranges")
