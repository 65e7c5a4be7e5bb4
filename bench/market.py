"""Frames to measure with: from the seeded synthetic market, or from recordings if there are any."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

from common.settings import REPO

SEED = 20_240_808
# Recordings may lie beside the clone; they are read there and never copied.
RECORDINGS = REPO.parent / "shared" / "data" / "ws"


def market_config(events: int, length_s: int, **more: object) -> dict[str, object]:
    """Return a market without events that are rejected, so that all of it must arrive."""
    return {"seed": SEED, "events": events, "length_s": length_s, "bursts": [], "silent_minutes": {}, **more}


def live_config(events_per_s: int, length_s: int, **playback: object) -> dict[str, object]:
    """Return the exchange's configuration for such a market in real time, with today's times.

    Args:
        events_per_s: Aggregate trades per second.
        length_s: Seconds that it plays.
        playback: Further settings of its playback.
    """
    in_real_time = {"speed": 1, "live_times": True, "start": "subscription", "start_after_s": 2}
    return {"market": market_config(events_per_s * length_s, length_s), "playback": {**in_real_time, **playback}}


def synthetic_frames(events: int) -> Iterator[bytes]:
    """Yield aggTrade frames of a combined stream: 24 symbols by time, about 230 bytes each."""
    from standins.exchange.connections import wrapped
    from standins.exchange.frames import agg_trade
    from standins.exchange.synthetic_market import MarketConfig, trades

    config = MarketConfig.model_validate(market_config(events, max(60, events // 160)))
    for trade in trades(config):
        row = (trade.agg_id, trade.price, trade.qty, trade.first_id, trade.last_id, trade.time_us, trade.is_buyer_maker)
        yield wrapped(
            f"{trade.symbol.lower()}@aggTrade", agg_trade(trade.symbol, True, row, trade.time_us, 1000)
        ).encode()


def write_frames(path: Path, frames: Iterator[bytes]) -> int:
    """Write one frame per line and return their number."""
    count = 0
    with path.open("wb") as file:
        for frame in frames:
            file.write(frame + b"\n")
            count += 1
    return count


def read_frames(path: Path) -> list[bytes]:
    """Return the frames of a file."""
    return path.read_bytes().splitlines()


def recorded_frames(folder: Path = RECORDINGS) -> dict[str, list[str]]:
    """Return the recorded frames that both Tickhouse and cryptofeed accept, by kind.

    Kinds are `aggTrade` and `bookTicker`.

    cryptofeed knows aggregate trades only, so single trades of the spot capture become aggregates
    of one trade, as the exchange itself sends them. USD-M single trades are left out, because their
    ids have holes.
    """
    found: dict[str, list[str]] = {"aggTrade": [], "bookTicker": []}
    for path in sorted(folder.glob("cf_BINANCE*.ws.txt.gz")) + sorted(folder.glob("hft_spot_*.txt.gz")):
        for frame in _frames_of(path):
            text = _as_aggregate(frame) if '"e":"trade"' in frame else frame
            kind = text[: text.find('"', 12)].partition("@")[2]
            # USD-M book tickers have an event time: two within a millisecond are one event for us.
            if kind in found and '"e":"bookTicker"' not in text:
                found[kind].append(text)
    return found


def _frames_of(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt") as file:
        for line in file:
            at = line.find('{"stream":"')
            if at > 0:
                yield line[at:].rstrip("\n")


def _as_aggregate(text: str) -> str:
    number = json.loads(text)["data"]["t"]
    text = text.replace('@trade"', '@aggTrade"', 1).replace('"e":"trade"', '"e":"aggTrade"', 1)
    text = re.sub(rf'"t":{number},', f'"a":{number},', text, count=1)
    return text.replace(',"T":', f',"f":{number},"l":{number},"T":', 1)
