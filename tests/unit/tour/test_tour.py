"""The recorded tour: how it is made, and whether what is committed shows nothing private."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from common.settings import REPO
from tests.leaks import leaks
from tests.unit.docs.commands import problem
from tour.__main__ import CAST, COMMANDS, DEMO, DOWN, FOLDER, LINEAGE_PAGE, PICTURE
from tour.cast import LONGEST_COMMAND_S, NOTE, cast, shortened, thinned
from tour.lineage_page import with_picture
from tour.pages import HEIGHT, WIDTH, pages, small
from tour.private_text import private_text, refuse_private
from tour.terminal import COLUMNS, LINES, Chunk, Recording, record

MOST_BYTES = 200_000
PRIVATE = re.compile(r"/work\b|/root\b|/home/|/tmp/|\.internal\b")
# A value, and not the name of a setting.
SECRET = re.compile(r"(?i:password|secret|token)\s*[=:]\s*['\"]?(?=[A-Z_]*[a-z0-9])[\w+/-]{12,}")
ERASE_TWO = "\r\x1b[2K\x1b[1A\x1b[2K"


def events(text: str) -> tuple[dict[str, Any], list[tuple[float, str, str]]]:
    header, *lines = text.splitlines()
    return json.loads(header), [tuple(json.loads(line)) for line in lines]


def screen(chunks: list[Chunk]) -> list[str]:
    """Return the lines that a terminal shows after text, new lines and erased lines."""
    lines, at = [""], 0
    for piece in re.findall(r"\r\n|\r|\x1b\[2K|\x1b\[1A|[^\r\x1b]+", "".join(chunk.text for chunk in chunks)):
        if piece == "\r\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif piece == "\x1b[1A":
            at -= 1
        elif piece == "\x1b[2K":
            lines[at] = ""
        elif piece != "\r":
            lines[at] += piece
    return lines


def in_terminal(script: str) -> Recording:
    command = [sys.executable, "-u", "-c", script]
    return record(command, shown="program", folder=REPO, environment=dict(os.environ))


def test_a_program_runs_in_a_terminal_of_the_size_of_the_cast() -> None:
    done = in_terminal("import os, sys; print(*os.get_terminal_size(), sys.stdout.isatty(), os.environ['TERM'])")

    assert "".join(chunk.text for chunk in done.chunks) == f"{COLUMNS} {LINES} True xterm-256color\r\n"
    assert (done.exit_code, done.command) == (0, "program")


def test_a_failure_and_characters_cut_in_two_are_recorded() -> None:
    done = in_terminal("import os, sys; [os.write(1, bytes([one])) for one in '币 ┏'.encode()]; sys.exit(3)")

    assert "".join(chunk.text for chunk in done.chunks) == "币 ┏"
    assert done.exit_code == 3


def test_waits_are_shortened_and_long_commands_are_played_faster() -> None:
    assert shortened([0.5, 60.0, 60.2]) == pytest.approx([0.5, 1.5, 1.7])
    assert shortened([float(second) for second in range(1, 81)])[-1] == pytest.approx(LONGEST_COMMAND_S)
    assert shortened([]) == []


def test_redraws_in_between_are_left_out_and_the_screen_stays_the_same() -> None:
    first = Chunk(0.0, "a\r\nb")
    redraws = [Chunk(number / 10, f"{ERASE_TWO}a{number}\r\nb{number}") for number in range(1, 50)]
    higher = [Chunk(5.0, f"{ERASE_TWO}a\r\nb\r\nc"), Chunk(5.1, f"{ERASE_TWO}\x1b[1A\x1b[2KA\r\nB\r\nC")]
    chunks = [first, *redraws, *higher, Chunk(5.2, "\r\nend\r\n")]
    kept = thinned(chunks)

    assert len(kept) < 10
    assert screen(kept) == screen(chunks) == ["A", "B", "C", "end", ""]
    assert thinned([Chunk(0.0, "x"), Chunk(0.1, "y")]) == [Chunk(0.0, "x"), Chunk(0.1, "y")]


def test_a_cast_has_commands_output_and_real_durations() -> None:
    one = Recording("ls /secret/place", (Chunk(0.1, "/secret/place/币\r\n"),), 0, 61.24)
    failed = Recording("false", (), 1, 0.0)
    header, lines = events(cast([one, failed], title="t", replace={"/secret/place": "~"}))

    assert header == {
        "version": 2, "width": COLUMNS, "height": LINES, "title": "t", "env": {"TERM": "xterm-256color"},
    }  # fmt: skip
    shown = "".join(text for _, _, text in lines)
    assert shown.index("of more than 1 s") < shown.index("$ ls ~") < shown.index("~/币") < shown.index("# 61.2 s")
    assert "# 0.0 s, exit code 1" in shown
    assert [time for time, _, _ in lines] == sorted(time for time, _, _ in lines)


def test_private_text_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("SOME_PASSWORD=abcdefghijklmnop\nMINIO_ROOT_USER=administrator\n")
    private = private_text(SimpleNamespace(home=tmp_path))  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"^page shows SOME_PASSWORD\.$"):
        refuse_private("x abcdefghijklmnop y", "page", private)
    with pytest.raises(ValueError, match="the folder of the project"):
        refuse_private(f"in {REPO}/x", "page", private)
    refuse_private("administrator", "page", private)


def test_a_picture_keeps_its_size_with_few_colours() -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (10, 200, 30)).save(out, "PNG")
    picture = Image.open(io.BytesIO(small(out.getvalue())))

    assert (picture.size, picture.mode) == ((40, 30), "P")
    assert picture.convert("RGB").getpixel((1, 1)) == (10, 200, 30)


def test_the_flowchart_of_a_page_is_replaced() -> None:
    page = "a\n```mermaid\nflowchart LR\n    old\n```\nb\n"

    assert with_picture(page, "flowchart LR\n    new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="was 0"):
        with_picture("nothing", "x")


@pytest.mark.parametrize("command", [DEMO, *COMMANDS, PICTURE, DOWN])
def test_commands_of_the_tour_exist(command: str) -> None:
    assert problem(shlex.split(command)) == ""


# -- what is committed


def test_the_cast_is_valid_and_has_every_command() -> None:
    header, lines = events(CAST.read_text())

    assert (header["version"], header["width"], header["height"]) == (2, COLUMNS, LINES)
    assert {kind for _, kind, _ in lines} == {"o"}
    times = [time for time, _, _ in lines]
    assert times == sorted(times)
    assert times[0] >= 0
    shown = "".join(text for _, _, text in lines)
    assert NOTE in shown
    for command in (DEMO, *COMMANDS, DOWN):
        assert f"$ {command}\x1b[0m\r\n" in shown
    assert "exit code" not in shown
    assert "SIMULATED" in shown


def test_the_cast_shows_no_machine_and_no_secret() -> None:
    shown = "".join(text for _, _, text in events(CAST.read_text())[1])

    assert PRIVATE.findall(shown) == []
    assert SECRET.findall(shown) == []
    assert CAST.stat().st_size < MOST_BYTES


def test_a_canary_in_a_cast_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("API_READ_KEY=canary-canary-canary\n")
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "demo.cast"
    log.write_text(CAST.read_text())
    assert leaks(tmp_path) == []

    log.write_text(cast([Recording("x", (Chunk(0.0, "canary-canary-canary"),), 0, 0.0)], title="t", replace={}))
    assert leaks(tmp_path) == ["logs/demo.cast has API_READ_KEY"]
    assert PRIVATE.search("in /work/main")
    assert SECRET.search("password: abcdefghijkl")


def test_each_page_has_a_small_picture_which_the_tour_shows() -> None:
    addresses = SimpleNamespace(api_url="http://a", airflow_url="http://b", data_docs_url="http://c")
    names = {f"{page.name}.png" for page in pages(addresses, "http://d")}  # type: ignore[arg-type]
    pictures = sorted(FOLDER.glob("*.png"))

    assert {path.name for path in pictures} == names
    assert set(re.findall(r"\]\(tour/([\w-]+\.png)\)", (REPO / "docs" / "tour.md").read_text())) == names
    assert len(pictures) <= 8
    for path in pictures:
        assert path.stat().st_size < MOST_BYTES, path
        with Image.open(path) as picture:
            assert picture.size == (WIDTH, HEIGHT), path


def test_the_picture_of_the_lineage_leads_from_kafka_to_the_table() -> None:
    (chart,) = re.findall(r"```mermaid\n(.*?)```", LINEAGE_PAGE.read_text(), re.DOTALL)

    assert chart.startswith("flowchart LR\n")
    for name in ("crypto.trades<br>", "lake_commit<br>", "nightly_batch.build<br>", "gold/candles_1d<br>commit "):
        assert name in chart
    assert PRIVATE.findall(chart) == []
