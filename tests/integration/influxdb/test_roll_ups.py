"""Bars of a second and a minute: by the tasks of the server, and again for late trades."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest

from common.clients import influxdb
from spark.streaming.series_sink import SeriesStore
from tests.eventually import eventually
from tests.integration.influxdb.conftest import SeriesBench
from tests.unit.tickhouse.checks.reconcile.samples import BTC, ETH, trade
from tickhouse.checks.reconcile.contract_turnover import quote_quantity
from tickhouse.checks.reconcile.model import CheckedTrade

pytestmark = pytest.mark.integration

WIDTHS_S = {influxdb.SECONDS: 1, influxdb.MINUTES: 60}
DAY_US = 86_400_000_000
FIELDS = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades")
Bars = dict[tuple[str, int], dict[str, float]]


def an_hour_ago() -> int:
    """Return a whole minute about an hour ago: its trades are late, and its seconds are kept."""
    return (time.time_ns() // 1000 - 3_600_000_000) // 60_000_000 * 60_000_000


def market(start_us: int) -> list[CheckedTrade]:
    """Return trades of two symbols over two minutes, with a sentinel and sides in turn."""
    return [
        trade(
            number, key=key, time_us=start_us + number * 700_123, side="BUY" if number % 3 else "SELL",
            price=0 if number == 7 else 10**8 * (100 + number * 37 % 50), qty=10**6 * (1 + number % 9),
        )
        for key in (BTC, ETH)
        for number in range(170)
    ]  # fmt: skip


def bars_of(trades: Iterable[CheckedTrade], width_s: int) -> Bars:
    """Return the expected bars by symbol and second of their start."""
    groups: dict[tuple[str, int], list[CheckedTrade]] = {}
    for one in sorted(trades, key=lambda one: (one.time_us, one.trade_id)):
        if not one.is_sentinel:
            groups.setdefault((one.key.symbol, one.time_us // 10**6 // width_s * width_s), []).append(one)
    return {key: bar_of(of) for key, of in groups.items()}


def bar_of(trades: list[CheckedTrade]) -> dict[str, float]:
    prices = [one.price / 1e8 for one in trades]
    bought = [one.qty for one in trades if one.side == "BUY"]
    return {
        "open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1],
        "volume": sum(one.qty for one in trades) / 1e8, "quote_volume": sum(map(quote_quantity, trades)) / 1e16,
        **({"buy_volume": sum(bought) / 1e8} if bought else {}), "trades": len(trades),
    }  # fmt: skip


def stored(bench: SeriesBench, bucket: str) -> Bars:
    columns = "symbol: r.symbol, field: r._field, at: int(v: r._time) / 1000000000, _value: float(v: r._value)"
    rows = bench.flux(
        f'from(bucket: "{bucket}") |> range(start: 0, stop: 1d) |> filter(fn: (r) => r._measurement == "bar")'
        f" |> map(fn: (r) => ({{{columns}}}))"
    )
    found: Bars = {}
    for row in rows:
        bar = found.setdefault((row["symbol"], int(row["at"])), {})
        assert row["field"] not in bar, "two points of one field: a tag too many"
        bar[row["field"]] = float(row["_value"])
    return found


def expected(trades: Iterable[CheckedTrade], width_s: int) -> Any:
    return {key: pytest.approx(bar) for key, bar in bars_of(trades, width_s).items()}


@pytest.mark.parametrize("bucket", WIDTHS_S)
def test_late_trades_have_their_bars_when_their_batch_is_done(bench: SeriesBench, bucket: str) -> None:
    trades = market(an_hour_ago())
    bench.write(trades)

    assert stored(bench, bucket) == expected(trades, WIDTHS_S[bucket])


@pytest.mark.parametrize("bucket", WIDTHS_S)
def test_a_late_trade_changes_the_bars_of_its_windows_only(bench: SeriesBench, bucket: str) -> None:
    trades, store = market(an_hour_ago()), SeriesStore(bench.settings)
    bench.write(trades, store)
    late = trade(9_000, time_us=trades[40].time_us + 1, price=999 * 10**8, qty=5 * 10**8)
    before = stored(bench, bucket)
    bench.write([late], store)

    after = stored(bench, bucket)
    assert after == expected([*trades, late], WIDTHS_S[bucket])
    assert len([key for key in after if after[key] != before[key]]) == 1


def test_trades_that_a_bucket_no_longer_keeps_have_points_and_minutes_only(bench: SeriesBench) -> None:
    trades = market(an_hour_ago() - 30 * DAY_US)
    bench.write(trades)

    assert bench.compare(trades).ok
    assert stored(bench, influxdb.SECONDS) == {}
    assert stored(bench, influxdb.MINUTES) == expected(trades, 60)


def test_the_tasks_compute_the_same_bars_for_trades_in_time(bench: SeriesBench) -> None:
    """Trades of the last 12 s are no late ones, so the query leaves them to the tasks."""
    now = time.time_ns() // 1000
    trades = [
        trade(number, time_us=now - 12_000_000 + number * 100_000, price=10**8 * (100 + number % 7))
        for number in range(100)
    ]
    bench.write(trades, SeriesStore(bench.settings, now_us=lambda: now))

    for bucket, width_s in WIDTHS_S.items():
        wanted = expected(trades, width_s)
        eventually(lambda bucket=bucket, wanted=wanted: stored(bench, bucket) == wanted, timeout_s=300, every_s=2)
