"""Laws without data, and causes that are told once."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from common.settings import Settings
from stack.data_docs import report_site
from tickhouse.checks.audit import run
from tickhouse.checks.audit.great_expectations_run import checkpoint, run_checkpoint, suite
from tickhouse.checks.audit.laws import explanation, law_names
from tickhouse.checks.audit.outcomes import LawOutcome, causes

DAY = date(2026, 1, 1)


def no_rows(name: str, severity: str = "critical") -> LawOutcome:
    return LawOutcome(name, f"{name} has rows", "no data", is_broken=True, severity=severity)


def test_a_missing_day_is_told_once_not_once_per_law() -> None:
    outcomes = [no_rows(name) for name in ("bronze", "silver", "candles")]
    outcomes += [no_rows("day_shape", "warning"), LawOutcome("silver", "each event once", "no data", is_broken=False)]

    (cause,) = causes(outcomes, [DAY], ref="main", are_all_missing=True)
    assert cause.text == "main has no day 2026-01-01, so there is nothing to check: bronze, silver, candles, day_shape"
    assert cause.severity == "critical"


def test_a_missing_day_does_not_hide_what_else_is_broken() -> None:
    outcomes = [no_rows("silver"), LawOutcome("months", "no month without days", "failed", is_broken=True, rows=2)]
    assert [one.text for one in causes(outcomes, [DAY], ref="main", are_all_missing=True)] == [
        "main has no day 2026-01-01, so there is nothing to check: silver",
        "months: no month without days (2 rows)",
    ]


def test_one_missing_day_of_several_is_a_note_and_excuses_nothing() -> None:
    found = causes([no_rows("candles")], [DAY], ref="main")
    assert [(one.severity, one.text.split(":")[0]) for one in found] == [
        ("info", "main has no day 2026-01-01"),
        ("critical", "candles"),
    ]


def test_an_empty_table_and_a_query_that_fails_are_told_once_per_table() -> None:
    error = [
        LawOutcome("candles", f"law {n}", "failed", is_broken=True, error="no column\nat line 3") for n in range(15)
    ]
    empty = [no_rows("days"), LawOutcome("days", "places have no hole", "no data", is_broken=False)]
    assert [one.text for one in causes([*error, *empty])] == [
        "candles: its laws could not be computed: no column",
        "days: no data: not 'days has rows', so none of its 2 laws was checked",
    ]


def test_every_law_of_an_empty_table_has_no_data_and_the_one_about_rows_is_broken(tmp_path) -> None:
    columns = {
        value for one in suite("silver")["expectations"] for key, value in one["kwargs"].items() if "column" in key
    }
    outcomes = run_checkpoint({"silver": pd.DataFrame(columns=sorted(columns))}, "x", tmp_path / "site")

    assert {one.outcome for one in outcomes} == {"no data"}
    assert [one.law for one in outcomes if one.is_broken] == ["silver has trades"]


def test_a_column_without_a_value_has_no_data_and_breaks_nothing(tmp_path) -> None:
    frame = pd.DataFrame([{"comparison": "compared", "trades_off": None, "volume_off": 0.5, "quote_volume_off": 0.0}])
    outcomes = {one.law.split(",")[0]: one for one in run_checkpoint({"exchange_days": frame}, "x", tmp_path / "site")}

    assert outcomes["the number of trades is the exchange's"].outcome == "no data"
    assert not outcomes["the number of trades is the exchange's"].is_broken
    assert outcomes["the volume is the exchange's"].outcome == "failed"
    assert outcomes["the volume is the exchange's"].failing == ({"volume_off": "0.5"},)
    assert outcomes["the quote volume is the exchange's"].outcome == "passed"


def test_every_law_file_says_what_it_compares() -> None:
    assert {name for name in law_names() if len(explanation(name)) < 20} == set()
    assert set(law_names()) <= set(checkpoint("lake"))


def test_an_audit_of_another_day_keeps_the_verdict(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    settings, commit = Settings(), "c" * 64
    from common.days import Days

    manifests = pd.DataFrame([{"what": "manifests", "objects": 1, "problem": None}])
    empty = pd.DataFrame(columns=["path", "rows_named", "rows_found"])
    days = Days(DAY, DAY), Days(date(2026, 1, 2), date(2026, 1, 2))
    failed = run.write_report(
        settings, commit, "lake", days[0], {"bronze_files": empty}, ref="main", missing_days=[DAY]
    )
    passed = run.write_report(settings, commit, "lake", days[1], {"manifests": manifests}, ref="main")

    assert (failed.ok, failed.verdict, failed.summary()) == (False, "no data", "no data")
    assert failed.broken == ("main has no day 2026-01-01, so there is nothing to check: bronze_files",)
    assert (passed.ok, passed.verdict) == (True, "passed")
    kept = report_site.reports(report_site.folder(settings))
    assert sorted((one["days"], one["ok"]) for one in kept.values()) == [("2026-01-01", False), ("2026-01-02", True)]
    for report in (failed, passed):
        site = report_site.folder(settings) / report.url.split("/")[-2]
        assert "All audits of this commit" in (site / "index.html").read_text()
        assert (site / report_site.DATA_DOCS / "index.html").exists()
        assert report.data_docs_url.endswith(f"{site.name}/data_docs/index.html")
