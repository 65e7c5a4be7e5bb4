"""Make the recorded tour again: `make tour`, or `python -m tour [--keep] [--running]`.

It runs the commands below in a terminal, on the demo with small heaps, and writes what they print
as `docs/tour/demo.cast`. While the demo runs it takes pictures of the pages, and draws the lineage
into docs/how-to/follow-the-lineage.md. Where Chromium is missing, it says so and leaves the
pictures as they are.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.chromium import missing_browser
from common.settings import REPO, Settings, load_settings
from tickhouse.demo.home import enter
from tour.cast import cast
from tour.lineage_page import with_picture
from tour.pages import pages, take
from tour.private_text import private_text, refuse_private
from tour.terminal import Recording, record

FOLDER = REPO / "docs" / "tour"
CAST = FOLDER / "demo.cast"
LINEAGE_PAGE = REPO / "docs" / "how-to" / "follow-the-lineage.md"
TITLE = "Tickhouse: a synthetic market through the whole lakehouse"
DEMO = "tickhouse demo --light --profile observe"
DOWN = "tickhouse --demo down --purge"
PICTURE = "tickhouse --demo lineage candles_1d@main --picture"
COMMANDS = (
    "tickhouse --demo status",
    "tickhouse --demo candles --market spot --symbol BTCUSDT --from 2024-08-08 --to 2024-08-10",
    "tickhouse --demo explain binance:spot:BTCUSDT:aggTrade:4073712700",
    "tickhouse --demo dlq ls",
    "tickhouse --demo alerts list",
    "tickhouse --demo lineage candles_1d@main",
    "tickhouse --demo lake query candles_1m --as-of main --symbol BTCUSDT --limit 5",
)


def main(arguments: list[str]) -> int:
    """Record, take pictures, draw; return the exit code.

    Args:
        arguments: `--running` uses the demo that runs, `--keep` leaves it running.
    """
    environment = dict(os.environ, PATH=f"{REPO / '.venv' / 'bin'}:{os.environ['PATH']}")
    recordings: list[Recording] = []
    first = () if "--running" in arguments else (DEMO,)
    for command in (*first, *COMMANDS):
        recordings.append(_recorded(command, environment))
        if recordings[-1].exit_code:
            sys.stderr.write(f"{command} ended with exit code {recordings[-1].exit_code}; nothing was written.\n")
            return 1
    enter()
    settings = load_settings()
    FOLDER.mkdir(exist_ok=True)
    _take_pictures(settings)
    _draw_lineage(settings, environment)
    private = private_text(settings)
    if "--keep" not in arguments:
        recordings.append(_recorded(DOWN, environment))
    _write_cast(recordings, private)
    return 0


def _recorded(command: str, environment: dict[str, str]) -> Recording:
    sys.stderr.write(f"$ {command}\n")
    done = record(shlex.split(command), shown=command, folder=REPO, environment=environment)
    sys.stderr.write(f"  {done.seconds:.1f} s\n")
    return done


def _write_cast(recordings: list[Recording], private: dict[str, str]) -> None:
    text = cast(recordings, title=TITLE, replace={str(REPO): "~/tickhouse", str(Path.home()): "~"})
    refuse_private(text, CAST.name, private)
    CAST.write_text(text)


def _take_pictures(settings: Settings) -> None:
    why_not = missing_browser()
    if why_not:
        sys.stderr.write(f"No pictures were taken: {why_not}\n")
        return
    report = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tour.report"], cwd=REPO, capture_output=True, text=True, check=False,
        env={**os.environ, "AIRFLOW_HOME": tempfile.mkdtemp()},
    )  # fmt: skip
    if report.returncode:
        raise RuntimeError(f"The notebook failed: {report.stderr[-2000:]}")
    with tempfile.TemporaryDirectory() as profile:
        for path in take(pages(settings, report.stdout.split()[-1]), FOLDER, Path(profile), private_text(settings)):
            sys.stderr.write(f"{path.relative_to(REPO)}: {path.stat().st_size / 1000:.0f} kB\n")


def _draw_lineage(settings: Settings, environment: dict[str, str]) -> None:
    done = subprocess.run(shlex.split(PICTURE), cwd=REPO, env=environment, capture_output=True, text=True, check=True)
    refuse_private(done.stdout, LINEAGE_PAGE.name, private_text(settings))
    LINEAGE_PAGE.write_text(with_picture(LINEAGE_PAGE.read_text(), done.stdout))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
