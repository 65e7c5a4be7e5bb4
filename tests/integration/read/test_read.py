"""`tickhouse.read` on the running lake, against the checker, `tickhouse lake query` and Spark."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from common.clients.lakefs import repository
from common.errors import ConfigurationError
from common.settings import REPO
from spark.batch.files import LakeFiles
from spark.batch.reproduce import published, table_hash
from tests.integration.read.built_lake import CHINESE, Lake, trades
from tests.lakes import THE_8TH, THE_9TH
from tests.unit.docs.test_lake_to_backtest import BLOCKS, run
from tests.unit.tickhouse.read.published_lake import busy_market, candle_row
from tickhouse import read
from tickhouse.checks.reconcile import gold
from tickhouse.cli import app
from tickhouse.lake.branches import commit, ensure_branch
from tickhouse.read.measures import order_flow_imbalance, return_correlations, volatility_by_hour

pytestmark = pytest.mark.integration
BOTH: dict[str, Any] = {"start": THE_8TH, "end": "2024-08-10"}


def queried(lake: Lake, table: str, symbol: str) -> list[dict[str, Any]]:
    """Return what `tickhouse lake query` prints, without the columns of the folders."""
    arguments = ["lake", "query", table, "--as-of", lake.branch, "--symbol", symbol, "--limit", "10000", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    return [{name: value for name, value in row.items() if name not in ("date", "hour")} for row in rows]


def exact(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


@pytest.mark.parametrize("interval", gold.INTERVALS_US)
@pytest.mark.parametrize("symbol", ["BTCUSDT", CHINESE.symbol])
def test_candles_are_those_of_the_checker_and_of_the_query(lake: Lake, interval: str, symbol: str) -> None:
    found = read.candles(symbol, market="spot", interval=interval, **BOTH, as_of=lake.branch)

    expected = gold.expected(trades(), interval)
    assert found.arrow().to_pylist() == [candle_row(one) for key, one in expected.items() if key[1] == symbol]
    assert found.commit_id == lake.commit_id
    shown = sorted(queried(lake, f"gold/candles_{interval}", symbol), key=lambda row: row["open_time"])
    names = ["open", "high", "low", "close", "volume", "quote_volume", "vwap", "taker_buy_volume"]
    assert [[exact(row[name]) for name in names] for row in shown] == [
        list(row.values()) for row in found.arrow().select(names).to_pylist()
    ]


def test_trades_are_those_of_silver_each_once(lake: Lake) -> None:
    found = read.trades("BTCUSDT", market="spot", **BOTH, as_of=lake.branch).arrow()

    assert found["event_id"].to_pylist() == [one.event_id for one in busy_market()]
    shown = {
        row["event_id"]: (exact(row["price"]), exact(row["qty"])) for row in queried(lake, "silver/trades", "BTCUSDT")
    }
    assert {row["event_id"]: (row["price"], row["qty"]) for row in found.to_pylist()} == shown


def test_as_of_a_commit_the_rows_stay(lake: Lake) -> None:
    name = f"{lake.branch}-later"
    ensure_branch(lake.settings, name, lake.branch)
    path = f"gold/candles_1m/date={THE_9TH}/part-0.parquet"
    before = read.candles("BTCUSDT", market="spot", **BOTH, as_of=name)
    repository(lake.settings).branch(name).object(path).delete()
    assert read.candles("BTCUSDT", market="spot", **BOTH, as_of=name).rows == before.rows, "it is not committed"

    commit(lake.settings, name, "remove a day", {})
    with pytest.raises(ConfigurationError, match=r"does not have these days: 2024-08-09\. It has 1"):
        read.candles("BTCUSDT", market="spot", **BOTH, as_of=name)
    assert read.candles("BTCUSDT", market="spot", **BOTH, as_of=before.commit_id).rows == before.rows


def test_an_unknown_reference_is_named_with_the_nearest(lake: Lake) -> None:
    wrong = lake.branch.replace("read", "raed")
    with pytest.raises(ConfigurationError, match=rf"no branch, tag or commit '{wrong}'. The nearest: .*{lake.branch}"):
        read.days(as_of=wrong)
    for malformed in ("", "no such ref", "0" * 64):
        with pytest.raises(ConfigurationError):
            read.days(as_of=malformed)


def test_the_month_is_the_published_one(lake: Lake) -> None:
    month = read.table("monthly", start="2024-08-01", end="2024-09-01", as_of=lake.commit_id).arrow()

    assert table_hash(month) == table_hash(
        published(LakeFiles.of(lake.settings, lake.commit_id), THE_8TH.replace(day=1))
    )


def test_the_how_to_runs_on_the_real_lake(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    own = 'HOME = ".tickhouse-demo"'
    assert own in BLOCKS[0]
    names = run([block.replace(own, "HOME = None").replace('"main"', f'"{lake.branch}"') for block in BLOCKS])

    assert isinstance(names["bars"].arrow(), pa.Table)
    assert names["fills"] > 2
    assert f"commit {lake.commit_id}" in capsys.readouterr().out


EXECUTE = """
import sys
from common.settings import load_settings
from tickhouse.dag_tasks.monthly_report import report
print(report(load_settings(), sys.argv[1], "2024-08", sys.argv[2]).url)
"""


def executed(lake: Lake, notebook: str, home: Path) -> str:
    """Return the page of a notebook, executed for the lake's commit."""
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-W", "ignore", "-c", EXECUTE, lake.commit_id, notebook]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    reports = lake.settings.home / "data_docs" / "reports"
    return (reports / done.stdout.split()[-1].split("/")[-1]).read_text()


def test_the_notebook_gives_the_published_hash_and_a_page_of_all_symbols(lake: Lake, tmp_path: Path) -> None:
    page = executed(lake, "monthly", tmp_path)

    wanted = table_hash(published(LakeFiles.of(lake.settings, lake.commit_id), THE_8TH.replace(day=1)))
    top = page[: page.index("<h1")]
    assert wanted in top
    assert f"Equals what was published</dt><dd>yes, commit <code>{lake.commit_id[:16]}" in top
    for symbol in ("spot BTCUSDT", f"spot {CHINESE.symbol}"):
        assert f"<td>{symbol}</td>" in page
        assert f'alt="{symbol}: candles of ' in page
    assert page.count('src="data:image/png') == 3, "two symbols, and their volatilities"
    index = (lake.settings.home / "data_docs" / "index.html").read_text()
    assert f"reports/monthly-2024-08-{lake.commit_id[:16]}.html" in index


def test_the_measures_of_a_commit_have_the_hash_of_its_candles(lake: Lake, tmp_path: Path) -> None:
    shown = executed(lake, "measures", tmp_path)

    bars = {
        f"spot {symbol}": read.candles(symbol, market="spot", **BOTH, as_of=lake.commit_id).arrow()
        for symbol in ("BTCUSDT", CHINESE.symbol)
    }
    busiest = order_flow_imbalance(bars["spot BTCUSDT"])
    tables = [busiest, *(volatility_by_hour(bars[name]) for name in sorted(bars)), return_correlations(bars)]
    wanted = hashlib.sha256("".join(map(table_hash, tables)).encode()).hexdigest()
    assert wanted in shown[: shown.index("<h1")]
    assert lake.commit_id in shown


def test_variances_of_the_hours_add_up_to_that_of_the_day(lake: Lake) -> None:
    day = {"start": THE_8TH, "end": THE_9TH, "as_of": lake.commit_id}
    stored = read.table("volatility", **day).arrow().to_pylist()

    for row in stored:
        hours = volatility_by_hour(read.candles(row["symbol"], market="spot", **day).arrow())
        assert sum(hours["variance"].to_pylist()) == row["variance"], row["symbol"]
    assert len(stored) == 2
