"""The Python blocks of docs/how-to/from-lake-to-backtest.md, run on a lake in a folder."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import LocalFileSystem

from common.market_kind import BANNER
from common.settings import REPO
from tests.unit.docs.pages import fenced
from tests.unit.tickhouse.read.published_lake import busy_market, publish
from tickhouse import read
from tickhouse.read.lake_at_commit import LakeAtCommit

PAGE = REPO / "docs" / "how-to" / "from-lake-to-backtest.md"
BLOCKS = list(fenced(PAGE.read_text(encoding="utf-8"), "python"))
BACKTEST = BLOCKS[2]
COMMIT = "ab" * 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lake")
    publish(made, busy_market())
    return made


@pytest.fixture(autouse=True)
def lake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = LakeAtCommit(COMMIT, LocalFileSystem(), str(folder), BANNER)
    monkeypatch.setattr(read, "open_lake", lambda as_of, home: at)


def run(blocks: list[str]) -> dict[str, Any]:
    """Run blocks one after the other, as a reader pastes them, and return their names."""
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102
    return names


def test_every_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(BLOCKS)
    said = capsys.readouterr().out

    assert len(BLOCKS) == 5
    assert f"{BANNER}\n<1440 rows of gold/candles_1m at commit {COMMIT}>" in said
    assert re.search(rf"\d+ fills: [\d,.]+; buy and hold: [\d,.]+; commit {COMMIT}", said)
    assert re.search(r"first of 720 rows after \d+\.\d{3} s", said)
    assert names["fills"] > 2
    quantities = Decimal(sum(one.qty for one in busy_market())).scaleb(-8)
    assert names["volumes"].arrow().to_pylist() == [{"symbol": "BTCUSDT", "volume": quantities}]


def test_the_backtest_does_not_look_ahead() -> None:
    """What is decided up to a candle does not change when later candles do."""
    whole = run([BLOCKS[0], BACKTEST])
    cut = 500
    shorter = BACKTEST.replace("bars.pandas(floats=True)", f"bars.pandas(floats=True).head({cut})")
    assert shorter != BACKTEST

    part = run([BLOCKS[0], shorter])
    assert part["wanted"].tolist() == whole["wanted"].head(cut).tolist()
    # A candle's own close does not decide about its own open.
    later = BACKTEST.replace("fast = ", f"candles.loc[{cut}, 'close'] = 1e9\nfast = ", 1)
    changed = run([BLOCKS[0], later])
    assert changed["wanted"].head(cut + 1).tolist() == whole["wanted"].head(cut + 1).tolist()


def test_fees_are_paid() -> None:
    free = run([BLOCKS[0], BACKTEST.replace("FEE = 0.001", "FEE = 0.0")])
    paid = run([BLOCKS[0], BACKTEST])

    assert free["fills"] == paid["fills"]
    # At the end a held coin counts as sold, and its sale costs the fee too.
    sides = paid["fills"] + (paid["coins"] > 0)
    assert paid["result"] == pytest.approx(free["result"] * (1 - 0.001) ** sides)
