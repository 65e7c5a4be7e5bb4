#!/usr/bin/env python3
"""Map each trade to its symbol and month.

    in:  market TAB symbol TAB stream TAB trade_time_us TAB qty
    out: market:symbol:stream:YYYY-MM TAB qty

A line in another form ends the program, and with it the job. If it were skipped, a volume without
these trades would look right.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def mapped(lines: Iterable[str]) -> Iterator[str]:
    """Yield key and quantity of each trade; the month is that of the trade time in UTC."""
    for line in lines:
        market, symbol, stream, time_us, quantity = line.rstrip("\n").split("\t")
        month = EPOCH + timedelta(microseconds=int(time_us))
        yield f"{market}:{symbol}:{stream}:{month:%Y-%m}\t{quantity}\n"


if __name__ == "__main__":
    sys.stdout.writelines(mapped(sys.stdin))
