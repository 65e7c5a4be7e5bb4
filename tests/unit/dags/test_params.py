"""The trigger forms: what each parameter accepts and refuses before a run starts."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.unit.dags.test_dags import dags, parsed

__all__ = ["dags", "parsed"]
FORMS = ("backfill", "data_quality", "graph_sync", "lake_rollback", "monthly_report", "nightly_batch")


def accepts(dags: dict[str, Any], dag: str, name: str, value: object) -> bool:
    """Ask what Airflow asks: the JSON schema with its formats."""
    checker = Draft7Validator.FORMAT_CHECKER
    return Draft7Validator(dags[dag]["params"][name], format_checker=checker).is_valid(value)


def test_every_parameter_says_what_it_is_and_is_bounded(dags: dict[str, Any]) -> None:
    assert tuple(sorted(dag for dag, parsed_dag in dags.items() if parsed_dag["params"])) == FORMS
    for dag in FORMS:
        for name, schema in dags[dag]["params"].items():
            assert schema["title"], f"{dag}.{name}"
            assert schema["description"], f"{dag}.{name}"
            is_bounded = {"enum", "pattern", "maxLength"} & schema.keys() or schema["type"] == "boolean"
            assert is_bounded, f"{dag}.{name} accepts any text"


@pytest.mark.parametrize("symbol", ["BTCUSDT", "\u5e01\u5b89\u4eba\u751fUSDT", "BTCUSD_PERP", "1000SHIBUSDT", "B" * 50])
def test_symbols_are_accepted(dags: dict[str, Any], symbol: str) -> None:
    assert accepts(dags, "backfill", "symbol", symbol)


@pytest.mark.parametrize("symbol", ["", "btcusdt", "BTC/USDT", "BTC USDT", "--again", "B" * 51, "BTC:USDT"])
def test_other_text_is_refused(dags: dict[str, Any], symbol: str) -> None:
    assert not accepts(dags, "backfill", "symbol", symbol)


@pytest.mark.parametrize("dag", ["backfill", "data_quality", "nightly_batch"])
@pytest.mark.parametrize("name", ["from", "to"])
def test_days_are_days_of_the_calendar(dags: dict[str, Any], dag: str, name: str) -> None:
    assert accepts(dags, dag, name, "2024-02-29")
    assert accepts(dags, dag, name, None) == (dag != "backfill")
    for text in ("2023-02-29", "2024-13-01", "2024-8-9", "1999-01-01", "yesterday", "", "2024-08-09T00:00"):
        assert not accepts(dags, dag, name, text), text


@pytest.mark.parametrize(
    ("dag", "name", "good", "bad"),
    [
        ("data_quality", "ref", ["main", "daily-2024-08-08", "a" * 64], ["", "main~1", "a b", "../x", "r" * 256]),
        ("monthly_report", "month", [None, "2024-08"], ["2024-13", "2024-8", "08-2024", "2024-08-01"]),
        ("backfill", "market", ["spot", "usdm", "coinm"], ["SPOT", "margin", None]),
        ("backfill", "file", [None, "/data/archives/x.zip"], ["x.zip", "../x.zip", "", "/x\0"]),
        ("lake_rollback", "reason", ["a wrong file was published"], ["", "oops", "x" * 301]),
        ("lake_rollback", "preview_only", [True, False], ["yes", None]),
    ],
)
def test_each_parameter_accepts_the_good_and_refuses_the_bad(
    dags: dict[str, Any], dag: str, name: str, good: list[object], bad: list[object]
) -> None:
    assert [value for value in good if not accepts(dags, dag, name, value)] == []
    assert [value for value in bad if accepts(dags, dag, name, value)] == []
