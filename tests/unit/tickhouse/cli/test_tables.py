"""Tables lose nothing: whole values in a pipe, folded ones on a narrow terminal."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.text import Text

from tickhouse.cli.render import tables

EVENT_ID = "binance:spot:BTCUSDT:aggTrade:3141592653"
URL = "http://127.0.0.1:21062/audits/" + "0123456789abcdef" * 4 + "/index.html"
COLUMNS = ("event", "detail", "report")
ROWS = [(EVENT_ID, "[/b] is no markup here", URL)]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what a table prints at a width, on a terminal or into a pipe."""
    real = Console

    def show(width: int, is_terminal: bool, is_wide: bool = False) -> str:
        out = io.StringIO()

        def console(**options: object) -> Console:
            return real(**{"width": width, **options}, file=out, force_terminal=is_terminal, color_system=None)  # type: ignore[arg-type]

        monkeypatch.setattr(tables, "Console", console)
        monkeypatch.setattr(tables, "is_wide", lambda: is_wide)
        tables.show_table(COLUMNS, ROWS, optional=("detail",))
        return out.getvalue()

    return show


def test_a_pipe_gets_each_row_as_one_line(printed: Callable[..., str]) -> None:
    _, line = printed(80, False).splitlines()

    assert line.startswith(f"{EVENT_ID} ")
    assert "[/b] is no markup here" in line
    assert line.rstrip().endswith(URL)


def test_wide_shows_the_same_on_a_terminal(printed: Callable[..., str]) -> None:
    assert printed(80, True, True) == printed(80, False)


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_leaves_out_what_is_optional_and_cuts_off_nothing(
    printed: Callable[..., str], width: int
) -> None:
    text = printed(width, True)
    lines = text.splitlines()

    assert "…" not in text
    assert max(map(len, lines)) <= width
    assert "detail" not in lines[0]
    assert "Not shown on this narrow terminal: detail. --wide shows all." in " ".join(text.split())
    body = lines[1 : next(at for at, line in enumerate(lines) if line.startswith("Not shown"))]
    left = max(len(line.split()[0]) for line in body if not line.startswith(" "))
    assert "".join(line[:left].strip() for line in body) == EVENT_ID
    assert "".join(line[left:].strip() for line in body) == URL


def test_a_broad_terminal_shows_every_column(printed: Callable[..., str]) -> None:
    assert "[/b] is no markup here" in printed(240, True)


def test_colours_of_cells_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=80)
    monkeypatch.setattr(tables, "result_console", lambda: console)

    tables.show_table(("state",), [(Text("paused", "red"),)])

    assert "\x1b[31mpaused" in out.getvalue()
