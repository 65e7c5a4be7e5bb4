"""Tables that lose nothing.

In a pipe, and with `--wide`, each row is one line with all values in full. On a terminal that is
too narrow, columns that a reader can do without are left out, and the table says so. A value that
is still too long goes on in the next line. No value is ever cut off.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tickhouse.cli.output import is_wide

# Wide enough for any row: columns take only what they need.
_UNLIMITED = 100_000


def result_console() -> Console:
    """Return the console on standard output: as wide as the terminal, without limit elsewhere."""
    console = Console(highlight=False)
    return console if console.is_terminal and not is_wide() else Console(highlight=False, width=_UNLIMITED)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    empty: str = "",
    right: Collection[str] = (),
    optional: Collection[str] = (),
) -> None:
    """Print a table to standard output.

    Args:
        columns: The names of the columns.
        rows: The cells of each row; text is printed as it is, also with brackets in it.
        title: Stands above the table.
        empty: Printed instead of a table without rows; without it the header is printed.
        right: Columns of figures.
        optional: Columns that a narrow terminal leaves out, the last one first.
    """
    console = result_console()
    texts = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    if not texts and empty:
        console.print(Text(empty))
        return
    left_out: set[str] = set()
    table = _table(columns, texts, left_out, right)
    for name in reversed([name for name in columns if name in optional]):
        if _width(table, console) <= console.width:
            break
        left_out.add(name)
        table = _table(columns, texts, left_out, right)
    if title:
        console.print(Text(title, style="italic"))
    console.print(table)
    if left_out:
        names = ", ".join(name for name in columns if name in left_out)
        console.print(Text(f"Not shown on this narrow terminal: {names}. --wide shows all.", style="dim"))


def _table(columns: Sequence[str], rows: list[list[Text]], left_out: set[str], right: Collection[str]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for name in columns:
        if name not in left_out:
            table.add_column(name, overflow="fold", justify="right" if name in right else "left")
    for row in rows:
        table.add_row(*(cell for name, cell in zip(columns, row, strict=True) if name not in left_out))
    return table


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(width=_UNLIMITED), table).maximum
