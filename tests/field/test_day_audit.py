"""The audit of a day: void trades, one side, silence, missing parts, stray manifests.

Right values: `ETHUSDT-aggTrades-2023-05-01.zip` has 804 void trades of 2,000, and the audit warns
of them; `BTCUSDT-aggTrades-2021-12-14.csv` ends at 09:29.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.clients.lake_files import RefFiles
from common.days import Days, midnight
from common.settings import Settings
from stack.data_docs import report_site
from tests.field.audited_days import (
    DAY,
    DAY_SUITES,
    DAYS,
    OTHER,
    broken_laws,
    day_shapes,
    lake_of,
    law_tables,
    microseconds,
    trade,
    warnings_of,
    whole_day,
)
from tests.shared_files import field_file
from tickhouse.checks.audit import run
from tickhouse.checks.audit.great_expectations_run import suite
from tickhouse.checks.audit.lake_views import EXPECTATIONS, DayInputs, thresholds
from tickhouse.checks.audit.run import AuditReport
from tickhouse.checks.reconcile.json_records import Source
from tickhouse.checks.reconcile.model import CheckedTrade
from tickhouse.checks.reconcile.replayed_files import items
from tickhouse.dag_tasks.nightly_batch import note_of
from tickhouse.dag_tasks.notes import MAX_NOTE_LENGTH
from tickhouse.lake.audit_verdict import OK, verdict_metadata, warnings_in

# The first words of the laws.
VOID = "at most 1 in 1"
SIDES = "takers buy and sell"
SILENCE = "the longest silence within the day is at most 3 times the symbol's usual one"
START, END = "the day begins at its beginning", "the day ends at its end"
ABSENT = "a symbol that traded on an earlier day trades on this one"
STRAY = "below bronze/_manifests lie only manifests that can be read"


def test_a_whole_day_breaks_no_law(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, whole_day())
    assert warnings_of(broken_laws(lake, tmp_path)) == set()

    (row,) = day_shapes(lake).values()
    assert row["void_share"] == 0
    assert row["one_side_share"] == 0.5
    assert row["longest_silence_s"] == 60
    assert row["first_trade"] == "00:00:30"
    assert row["last_trade"] == "23:59:30"


def test_the_share_of_void_trades_is_a_warning(tmp_path: Path) -> None:
    broken = broken_laws(lake_of(tmp_path, partly_void_day()), tmp_path)
    assert VOID in warnings_of(broken)

    (void,) = [law for law in broken if law.law.startswith(VOID)]
    assert void.examples == ("spot BTCUSDT aggTrade 2024-08-08: 0.4",)


def partly_void_day() -> list[CheckedTrade]:
    """Return a whole day of which two trades in five are void."""
    return [trade(one.trade_id, one.time_us, is_void=one.trade_id % 5 < 2) for one in whole_day()]


def field_trades(name: str, market: str, symbol: str) -> list[CheckedTrade]:
    return [one for one in items(field_file(name), Source(market, symbol)) if isinstance(one, CheckedTrade)]


def test_a_reported_day_with_void_trades_is_a_warning(tmp_path: Path) -> None:
    trades = field_trades("ETHUSDT-aggTrades-2023-05-01.zip", "usdm", "ETHUSDT")
    day = date(2023, 5, 1)
    lake = lake_of(tmp_path, trades)
    (row,) = day_shapes(lake, Days(day, day)).values()

    assert row["trades"] == 2000
    assert row["void_trades"] == 804
    assert row["void_share"] == 0.402
    assert VOID in warnings_of(broken_laws(lake, tmp_path, Days(day, day)))


def test_a_reported_day_that_ends_at_half_past_nine(tmp_path: Path) -> None:
    days = [date(2021, 12, 14), date(2021, 12, 15)]
    trades = [one for day in days for one in field_trades(f"BTCUSDT-aggTrades-{day}.csv", "spot", "BTCUSDT")]
    lake = lake_of(tmp_path, trades)
    row = day_shapes(lake, Days(days[0], days[0]))["BTCUSDT", "2021-12-14"]

    assert row["last_trade"].startswith("09:29")

    broken = broken_laws(lake, tmp_path, Days(days[0], days[0]))
    assert {START, END} <= warnings_of(broken)
    assert all(one.severity != "critical" for one in broken)


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        (lambda at: at < 9.5 * 3600, {END}),
        (lambda at: at > 9.5 * 3600, {START}),
        (lambda at: not 3600 * 10 < at < 3600 * 14, {SILENCE}),
    ],
    ids=["ends", "begins", "falls silent"],
)
def test_a_missing_part_of_a_day_is_a_warning_without_any_history(tmp_path: Path, kept: Any, wanted: set[str]) -> None:
    trades = [one for one in whole_day() if kept((one.time_us - microseconds(DAY)) / 10**6)]
    assert warnings_of(broken_laws(lake_of(tmp_path, trades), tmp_path)) == wanted


def test_silence_is_measured_by_the_symbols_own_history(tmp_path: Path) -> None:
    """Forty silent minutes are normal for a symbol that trades each half hour, not for others."""
    before = [DAY - timedelta(days=2), DAY - timedelta(days=1)]
    trades: list[CheckedTrade] = []
    for day in (*before, DAY):
        busy = whole_day(day, first=len(trades), every_s=30)
        rare = whole_day(day, first=len(trades), every_s=1800, key=OTHER)
        quiet = microseconds(DAY, 36_000), microseconds(DAY, 38_400)
        trades += [one for one in (*busy, *rare) if not quiet[0] <= one.time_us < quiet[1]]
    lake = lake_of(tmp_path, trades)
    rows = day_shapes(lake)

    assert rows["BTCUSDT", "2024-08-08"]["usual_silence_s"] == 60
    assert rows["XRPETH", "2024-08-08"]["usual_silence_s"] == 1800

    broken = [one for one in broken_laws(lake, tmp_path) if one.law.startswith(SILENCE)]
    assert [one.examples for one in broken] == [("spot BTCUSDT aggTrade 2024-08-08: 8.1",)]


def test_a_symbol_that_trades_once_per_day_breaks_no_law(tmp_path: Path) -> None:
    trades = [trade(n, microseconds(DAY - timedelta(days=7 - n), 43_200), OTHER) for n in range(8)]
    lake = lake_of(tmp_path, trades)

    assert day_shapes(lake)["XRPETH", "2024-08-08"]["usual_silence_s"] == 86_400
    assert warnings_of(broken_laws(lake, tmp_path)) == set()


def test_a_symbol_that_vanished_is_a_warning(tmp_path: Path) -> None:
    yesterday = DAY - timedelta(days=1)
    trades = [*whole_day(yesterday), *whole_day(yesterday, key=OTHER), *whole_day(DAY, first=5000)]
    broken = broken_laws(lake_of(tmp_path, trades), tmp_path)

    assert ABSENT in warnings_of(broken)
    assert [one.examples for one in broken if one.law == ABSENT] == [("spot XRPETH aggTrade 2024-08-08: True",)]


def test_trades_of_one_side_are_a_warning_where_there_are_enough(tmp_path: Path) -> None:
    one_sided = [one._replace(side="BUY") for one in whole_day()]
    assert SIDES in warnings_of(broken_laws(lake_of(tmp_path / "many", one_sided), tmp_path))

    least = int(thresholds()["least_trades_to_judge_sides"])
    few = [one for one in one_sided if one.trade_id % 15 == 0][: least - 1]

    assert SIDES not in warnings_of(broken_laws(lake_of(tmp_path / "few", few), tmp_path))


def test_a_day_that_is_not_over_is_judged_up_to_now(tmp_path: Path) -> None:
    now = midnight(DAY) + timedelta(hours=9, minutes=31)
    trades = [one for one in whole_day() if one.time_us < microseconds(DAY, 9.5 * 3600)]
    lake = lake_of(tmp_path, trades)

    assert warnings_of(broken_laws(lake, tmp_path, inputs=DayInputs(now=now))) == set()


def test_history_is_as_long_as_declared(tmp_path: Path) -> None:
    days = [DAY - timedelta(days=n) for n in range(30, -1, -1)]
    trades = [trade(n, microseconds(day, 43_200), OTHER) for n, day in enumerate(days)]
    assert day_shapes(lake_of(tmp_path, trades))["XRPETH", "2024-08-08"]["history_days"] == thresholds()["history_days"]


@pytest.mark.parametrize(
    ("name", "body", "word"),
    [
        ("000000000009-abc.json", b"", "empty"),
        ("000000000009-abc.json", b'{"topic":', "broken"),
        ("000000000009-abc.json", b"[]", "broken"),
        ("000000000009-abc.json", b'{"topic":"crypto.trades","rows":1,"files":[{}]}', "broken"),
        ("notes.txt", b"do not touch", "stray"),
    ],
)
def test_an_object_that_is_no_manifest_is_a_warning_and_stops_nothing(
    tmp_path: Path, name: str, body: bytes, word: str
) -> None:
    lake = lake_of(tmp_path, whole_day())
    before = lake.bronze("trades")
    (tmp_path / "bronze/_manifests/trades" / name).write_bytes(body)
    bronze = lake.bronze("trades")

    assert sum(bronze.manifests.values()) == sum(before.manifests.values())
    assert bronze.files == before.files

    broken = broken_laws(lake, tmp_path)
    assert warnings_of(broken) == {STRAY}

    (example,) = [one.examples[0] for one in broken if one.law == STRAY]
    assert name in example
    assert word in example


def test_every_severity_and_threshold_is_declared_with_a_reason() -> None:
    declared = {
        (name, one["description"]): one
        for name in sorted(DAY_SUITES)
        for one in suite(name)["expectations"]
        if one["type"] != "expect_table_row_count_to_be_between"
    }
    assert declared

    for one in declared.values():
        assert one["severity"] in ("critical", "warning", "info")
        assert len(one["meta"]["reason"]) > 20
    assert all(len(reason) > 20 for reason in _reasons())


def _reasons() -> Iterator[str]:
    import yaml

    for one in yaml.safe_load((EXPECTATIONS / "thresholds.yaml").read_text()).values():
        yield one["reason"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path / "home"))
    return Settings()


def report_of(settings: Settings, lake: RefFiles, monkeypatch: pytest.MonkeyPatch, severity: str = "") -> AuditReport:
    if severity:
        changed = suite("day_shape")
        for one in changed["expectations"]:
            one["severity"] = severity
        monkeypatch.setattr(
            "tickhouse.checks.audit.great_expectations_run.suite",
            lambda name: changed if name == "day_shape" else suite(name),
        )
    (report_site.folder(settings)).mkdir(parents=True, exist_ok=True)
    return run.write_report(settings, "c" * 64, "lake", DAYS, law_tables(lake))


def test_a_warning_is_in_the_report_the_index_and_the_note(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = report_of(settings, lake_of(tmp_path, partly_void_day()), monkeypatch)

    assert report.ok
    assert report.broken == ()
    assert len(report.warnings) == 1
    assert "spot BTCUSDT aggTrade 2024-08-08: 0.4" in report.warnings[0]
    assert "not compared" in report.notes[0]

    (folder,) = report_site.folder(settings).glob(f"{'c' * 16}-lake-{DAY}-*")
    page = (folder / "index.html").read_text()
    assert "aggTrade 2024-08-08: 0.4" in page
    assert "not compared" in page
    assert json.loads((folder / report_site.REPORT).read_text())["warnings"] == list(report.warnings)
    assert f"{folder.name}/index.html" in (report_site.folder(settings) / "audits.html").read_text()
    assert note_of(report).startswith("Audit passed with 1 warnings: ")
    assert report.warnings[0] in note_of(report)


def test_the_same_law_is_broken_where_it_is_declared_critical(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = report_of(settings, lake_of(tmp_path, partly_void_day()), monkeypatch, "critical")

    assert not report.ok
    assert report.warnings == ()
    assert len(report.broken) == 1


def test_a_verdict_that_passed_carries_its_warnings() -> None:
    many = [f"law {n}: {'x' * 500}" for n in range(40)]
    verdict = verdict_metadata(ok=True, report="http://docs", of="1" * 64, warnings=many)

    assert verdict[OK] == "true"

    stored = warnings_in(verdict)
    assert len(stored) == 21
    assert stored[-1] == "and 20 more in the report"
    assert sum(map(len, stored)) < 7_000
    assert "audit.warnings" not in verdict_metadata(ok=True, report="", of="")
    assert warnings_in({}) == ()
    assert "law 0" in stored[0]


def test_a_note_is_cut_at_the_length_that_airflow_takes() -> None:
    report = AuditReport(
        "c", "lake", str(DAY), True, "http://docs", (), tuple(f"law {n} {'y' * 600}" for n in range(9))
    )
    assert len(note_of(report)) == MAX_NOTE_LENGTH
