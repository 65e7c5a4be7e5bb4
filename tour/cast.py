"""The recordings of a tour as an asciinema cast of version 2. No I/O.

The format: a first line of JSON with the size of the terminal, then a line per output,
`[seconds, "o", text]`: https://docs.asciinema.org/manual/asciicast/v2/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from tour.terminal import COLUMNS, LINES, Chunk, Recording

# A person reads on after this long, and watches one command for this long.
LONGEST_WAIT_S = 1.0
LONGEST_COMMAND_S = 40.0
# Time to read what a command printed, before the next one.
PAUSE_S = 2.5
# A bar that moves is redrawn ten times per second; one redraw per this time is enough to watch.
REDRAW_S = 2.0
NOTE = (
    "# Recorded by `make tour` from a real run. Waits of more than 1 s are shortened, and commands of more\r\n"
    "# than 40 s are played faster; behind each command is the time that it really took.\r\n"
)
# What rich writes before it draws a bar again: it erases the lines of the drawing before.
_REDRAW = re.compile(r"^(?:\x1b\[\?25l)?\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")
_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"


def cast(recordings: Sequence[Recording], *, title: str, replace: Mapping[str, str]) -> str:
    """Return the text of a `.cast` file.

    Args:
        recordings: Commands in the order in which they ran.
        title: Title of the cast.
        replace: Text that must not be shown, such as the path of this folder, to its stand-in.
    """
    header = {"version": 2, "width": COLUMNS, "height": LINES, "title": title, "env": {"TERM": "xterm-256color"}}
    lines = [json.dumps(header, ensure_ascii=False)]
    for at, text in _events(recordings):
        for hidden, shown in replace.items():
            text = text.replace(hidden, shown)  # noqa: PLW2901
        lines.append(json.dumps([round(at, 3), "o", text], ensure_ascii=False))
    return "\n".join(lines) + "\n"


def _events(recordings: Iterable[Recording]) -> Iterator[tuple[float, str]]:
    yield 0.0, f"{_DIM}{NOTE}{_PLAIN}\r\n"
    at = PAUSE_S
    for one in recordings:
        yield at, f"{_BOLD}$ {one.command}{_PLAIN}\r\n"
        times = shortened([chunk.at_s for chunk in one.chunks])
        shown = thinned(one.chunks)
        for chunk, time in zip(one.chunks, times, strict=True):
            if chunk in shown:
                yield at + time, chunk.text
        at += times[-1] if times else 0.0
        failed = f", exit code {one.exit_code}" if one.exit_code else ""
        yield at, f"{_DIM}# {one.seconds:.1f} s{failed}{_PLAIN}\r\n\r\n"
        at += PAUSE_S


def shortened(times: Sequence[float]) -> list[float]:
    """Return times with no gap above `LONGEST_WAIT_S`, the last one at most `LONGEST_COMMAND_S`."""
    shorter: list[float] = []
    for before, time in pairwise([0.0, *times]):
        shorter.append((shorter[-1] if shorter else 0.0) + min(time - before, LONGEST_WAIT_S))
    factor = min(1.0, LONGEST_COMMAND_S / shorter[-1]) if shorter and shorter[-1] else 1.0
    return [time * factor for time in shorter]


def thinned(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return the chunks without redraws of a bar that follow another one within `REDRAW_S`.

    A redraw is left out only when the next chunk erases exactly as many lines as it did: then the
    drawing before it was as high, and what is on the screen afterwards is the same.
    """
    kept: list[Chunk] = []
    last = -REDRAW_S
    for chunk, following in pairwise([*chunks, Chunk(0.0, "")]):
        erased = _REDRAW.match(chunk.text)
        after = _REDRAW.match(following.text)
        if erased and after and erased[0] == after[0] and chunk.at_s - last < REDRAW_S:
            continue
        kept.append(chunk)
        last = chunk.at_s if erased else -REDRAW_S
    return kept
