#!/usr/bin/env python3
"""Add up the quantities per key, exactly. It also serves as the combiner.

in:  key TAB qty, sorted by key
out: key TAB sum
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from decimal import Context, Decimal, Inexact
from itertools import groupby

# decimal(28,8) has 20 digits before the point, and 10^12 trades per month add 12. A sum that does
# not fit raises Inexact instead of being rounded.
EXACT = Context(prec=60, traps=[Inexact])


def reduced(lines: Iterable[str]) -> Iterator[str]:
    """Yield one sum per key."""
    pairs = (line.rstrip("\n").split("\t") for line in lines)
    for key, group in groupby(pairs, key=lambda pair: pair[0]):
        total = Decimal(0)
        for _, quantity in group:
            total = EXACT.add(total, Decimal(quantity))
        yield f"{key}\t{total:f}\n"


if __name__ == "__main__":
    sys.stdout.writelines(reduced(sys.stdin))
