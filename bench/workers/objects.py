"""Frames to objects by cryptofeed's Binance handler; runs in an environment without Tickhouse.

python objects.py FRAMES PASSES
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import re
import sys
import time
from pathlib import Path

from cryptofeed.defines import BINANCE, SPOT, TICKER, TRADES  # type: ignore[import-not-found]
from cryptofeed.exchanges import Binance  # type: ignore[import-not-found]
from cryptofeed.symbols import Symbols  # type: ignore[import-not-found]

received = itertools.count()


async def count(_event: object, _received_s: float) -> None:
    """Count an event."""
    next(received)


def feed_of(frames: list[str]) -> Binance:
    """Return a feed that knows the frames' symbols without a request to the exchange."""
    names = sorted({match[1].upper() for frame in frames if (match := re.match(r'{"stream":"([^@"]+)@', frame))})
    known = {f"{name}-X": name for name in names}
    Symbols.set(BINANCE, known, {"tick_size": {}, "instrument_type": dict.fromkeys(known, SPOT)})
    return Binance(symbols=list(known), channels=[TRADES, TICKER], callbacks={TRADES: count, TICKER: count})


async def play(feed: Binance, frames: list[str], passes: int) -> float:
    """Pass every frame to the handler and return the CPU seconds."""
    began = time.process_time()
    for _ in range(passes):
        for frame in frames:
            await feed.message_handler(frame, None, time.time())
    return time.process_time() - began


def main(path: str, passes: str) -> None:
    """Play a file several times."""
    frames = Path(path).read_text().splitlines()
    feed = feed_of(frames)
    gc.collect()
    gc.freeze()
    cpu_s = asyncio.run(play(feed, frames, int(passes)))
    print(json.dumps({"taken": next(received), "cpu_s": cpu_s}))


if __name__ == "__main__":
    main(*sys.argv[1:])
