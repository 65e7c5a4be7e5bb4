"""A home holds real trades or synthetic ones, never both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common import market_kind
from common.errors import ConfigurationError
from common.market_kind import Kind, banner, claim, kind_of, refuse_other
from standins.exchange import __main__ as exchange


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(market_kind.ALLOW_MIXED)


@pytest.mark.parametrize(("first", "second"), [("real", "simulated"), ("simulated", "real")])
def test_the_first_writer_decides(tmp_path: Path, first: Kind, second: Kind) -> None:
    assert kind_of(tmp_path) is None
    claim(tmp_path, first)
    claim(tmp_path, first)
    with pytest.raises(ConfigurationError, match="would mix"):
        claim(tmp_path, second)
    assert kind_of(tmp_path) == first
    assert bool(banner(tmp_path)) == (first == "simulated")
    assert [path.name for path in tmp_path.iterdir()] == ["market.json"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("files.jsonl", "{}", "real"),
        ("exchange.json", json.dumps({"source": "synthetic", "streams_subscribed": ["btcusdt@aggTrade"]}), "simulated"),
        ("exchange.json", json.dumps({"source": "capture", "streams_subscribed": ["btcusdt@aggTrade"]}), "real"),
        ("exchange.json", json.dumps({"source": "synthetic", "streams_subscribed": []}), None),
        ("exchange.json", "", None),
    ],
)
def test_the_kind_of_an_older_home_follows_from_its_truth_files(
    tmp_path: Path, name: str, content: str, kind: Kind | None
) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / name).write_text(content)
    assert kind_of(tmp_path) == kind


def test_a_record_that_does_not_parse_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "market.json").write_text("{")
    with pytest.raises(ConfigurationError, match="does not name"):
        kind_of(tmp_path)


def test_tests_may_mix_both_kinds_on_shared_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(market_kind.ALLOW_MIXED, "1")
    claim(tmp_path, "real")
    refuse_other(tmp_path, "simulated")


def test_the_local_exchange_does_not_start_in_a_home_of_real_trades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    claim(tmp_path, "real")
    assert exchange.main(["--listen", "127.0.0.1:0"]) == 2
    assert "holds real trades" in capsys.readouterr().err
