from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.clients import influxdb
from common.optional_stores import has_store
from common.settings import Settings
from spark.checkpoints.recovery import QUERY_SPECS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    for name in ("GEODE_URL", "INFLUXDB_WRITER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_store_counts_from_its_first_start_in_this_home(home: Path) -> None:
    assert not has_store(Settings(), "geode")
    (home / "data" / "geode").mkdir(parents=True)
    assert has_store(Settings(), "geode")


def test_influxdb_counts_when_it_has_given_the_stream_a_token(home: Path) -> None:
    file = influxdb.tokens_file(Settings())
    file.parent.mkdir(parents=True)
    assert not has_store(Settings(), "influxdb")

    file.write_text(json.dumps({"writer": "a token"}))
    assert has_store(Settings(), "influxdb")


@pytest.mark.parametrize(("address", "expected"), [("http://geode.example.org", True), ("", False)])
def test_an_external_store_counts_when_it_has_an_address(
    home: Path, monkeypatch: pytest.MonkeyPatch, address: str, expected: bool
) -> None:
    (home / "data" / "geode").mkdir(parents=True)
    monkeypatch.setenv("GEODE_URL", address)

    assert has_store(Settings(), "geode") is expected


@pytest.mark.usefixtures("home")
def test_a_query_without_its_store_does_not_run() -> None:
    names = [spec.name for spec in QUERY_SPECS if spec.is_enabled(Settings())]

    assert not {"statistics", "series"} & set(names)
    assert len(names) >= 5
