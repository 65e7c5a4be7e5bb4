#!/usr/bin/env python3
"""Map `market TAB symbol TAB stream TAB trade_time_us TAB qty` to `market:symbol:stream:YYYY-MM TAB qty`.

A line that is something else ends the program, and with it the job: a volume that left trades out would look right.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def mapped(lines: Iterable[str]) -> Iterator[str]:
    """Yield a key and a quantity for each trade; the month is UTC, of the trade's time."""
    for line in lines:
        market, symbol, stream, time_us, quantity = line.rstrip("\n").split("\t")
        month = EPOCH + timedelta(microseconds=int(time_us))
        yield f"{market}:{symbol}:{stream}:{month:%Y-%m}\t{quantity}\n"


if __name__ == "__main__":
    sys.stdout.writelines(mapped(sys.stdin))
