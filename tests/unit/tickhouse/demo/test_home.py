"""The demo has a home and ports of its own, and removes nothing that is not a demo's."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import ConfigurationError
from common.market_kind import claim
from common.settings import SIZE, home, load_settings, ports
from tickhouse.demo import home as demo_homes
from tickhouse.demo import run
from tickhouse.demo.market import MarketOptions


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's own home."""
    folder = tmp_path / ".tickhouse"
    monkeypatch.setenv("TICKHOUSE_HOME", str(folder))
    monkeypatch.setenv("TICKHOUSE_PORT_BASE", "21000")
    for name in demo_homes.KEPT:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    ports.cache_clear()
    yield folder
    ports.cache_clear()


def test_the_demo_is_beside_the_users_home_on_other_ports(own: Path) -> None:
    before = set(ports().values())
    entered = demo_homes.enter()
    assert entered == home() == own.with_name(".tickhouse-demo")
    assert not before & set(ports().values())
    assert load_settings().kafka_bootstrap_servers == "127.0.0.1:21200"


def test_entering_twice_stays_there(own: Path) -> None:
    assert demo_homes.enter() == demo_homes.enter()
    assert ports()["kafka"] == 21200


def test_the_printed_line_leads_other_shells_there(own: Path) -> None:
    demo_homes.enter(is_new=True)
    run.prepare(home(), MarketOptions(events=5_000, is_light=True))
    words = shlex.split(demo_homes.exports())
    given = dict(word.split("=", 1) for word in words[1:])
    assert words[0] == "export"
    assert given["TICKHOUSE_HOME"] == str(home())
    assert given["TICKHOUSE_PORT_BASE"] == "21200"
    assert given[SIZE] == "light"
    assert Path(given[demo_homes.EXCHANGE_CONFIG]).parent == home()


def test_later_commands_see_what_the_demo_was_started_with(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_homes.enter(is_new=True)
    run.prepare(home(), MarketOptions(is_light=True))
    for name in demo_homes.KEPT:
        monkeypatch.delenv(name)
    demo_homes.enter()
    assert os.environ[SIZE] == "light"
    assert Path(os.environ[demo_homes.EXCHANGE_CONFIG]).exists()


def test_a_new_demo_forgets_the_market_of_the_one_before(own: Path) -> None:
    demo_homes.enter(is_new=True)
    run.prepare(home(), MarketOptions(events=5_000))
    demo_homes.enter(is_new=True)
    assert demo_homes.EXCHANGE_CONFIG not in os.environ


def test_an_external_store_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example.org:9092")
    with pytest.raises(ConfigurationError, match="KAFKA_BOOTSTRAP_SERVERS"):
        demo_homes.enter()
    assert home() == own


@pytest.mark.parametrize("arguments", [["--demo", "config", "show"], ["config", "show", "--demo"]])
def test_every_command_takes_the_option(own: Path, arguments: list[str]) -> None:
    from tickhouse.cli import app

    shown = CliRunner().invoke(app, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    assert f'"home": "{own.with_name(".tickhouse-demo")}"' in shown.output


def test_an_error_mentions_the_demo_when_it_is_the_only_lakehouse(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tickhouse.cli import app

    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")  # nobody answers there
    command = ["candles", "--market", "spot", "--symbol", "BTCUSDT", "--from", "2024-08-08", "--to", "2024-08-09"]
    assert "--demo" not in CliRunner().invoke(app, command).output
    demo = demo_homes.demo_home(own)
    run.prepare(demo, MarketOptions())
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 23
    assert "use tickhouse --demo" in found.output


def test_an_earlier_demo_is_removed(own: Path) -> None:
    folder = demo_homes.enter(is_new=True)
    run.prepare(folder, MarketOptions(events=5_000))
    claim(folder, "simulated")
    run.clear(folder)
    assert not folder.exists()


def foreign(folder: Path) -> None:
    (folder / "data").mkdir()


def replayed(folder: Path) -> None:
    run.prepare(folder, MarketOptions())
    (folder / "truth").mkdir()
    (folder / "truth" / "files.jsonl").write_text("{}")


def live(folder: Path) -> None:
    run.prepare(folder, MarketOptions())
    claim(folder, "real")


@pytest.mark.parametrize("fill", [foreign, replayed, live])
def test_a_home_that_no_demo_made_is_never_removed(own: Path, fill: object) -> None:
    folder = demo_homes.enter(is_new=True)
    folder.mkdir(parents=True)
    fill(folder)  # type: ignore[operator]
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConfigurationError, match="not a demo's"):
        run.clear(folder)
    assert sorted(folder.rglob("*")) == before


def test_the_users_home_is_not_changed(own: Path) -> None:
    own.mkdir(parents=True)
    claim(own, "real")
    run.clear(demo_homes.enter(is_new=True))
    assert (own / "market.json").exists()
