"""Laws: SQL files over the tables of a ref; Great Expectations checks the rows of each result."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from tickhouse.checks.audit.lake_views import EXPECTATIONS

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

LAWS = EXPECTATIONS / "laws"


def law_names(folder: Path = LAWS) -> list[str]:
    """Return the names of all laws."""
    return sorted(path.stem for path in folder.glob("*.sql"))


def explanation(name: str, folder: Path = LAWS) -> str:
    """Return what a law compares: the comment at the top of its file; empty without a file."""
    path = folder / f"{name}.sql"
    lines = path.read_text().splitlines() if path.exists() else []
    return " ".join(line.removeprefix("--").strip() for line in takewhile(lambda line: line.startswith("--"), lines))


def law_tables(
    connection: duckdb.DuckDBPyConnection, names: Iterable[str], folder: Path = LAWS
) -> dict[str, pd.DataFrame]:
    """Run laws and return their tables by name, rows in a stable order.

    A law that cannot be computed, for example because a column is missing, returns a table with the
    error. Its suite does not pass.

    Args:
        connection: Has the views of `tickhouse.checks.audit.lake_views`.
        names: Names of SQL files.
        folder: Where they are.
    """
    return {name: _run(connection, (folder / f"{name}.sql").read_text()) for name in names}


def _run(connection: duckdb.DuckDBPyConnection, text: str) -> pd.DataFrame:
    import duckdb
    import pandas as pd

    try:
        frame: pd.DataFrame = _without_na(connection.execute(text).df())
    except duckdb.Error as error:
        return pd.DataFrame([{"error": str(error)}])
    return frame.sort_values(list(frame.columns[:4]), ignore_index=True) if len(frame) else frame


def _without_na(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose missing values are None: pandas' own NA has no truth value, so the
    comparison of two columns would end with an error instead of naming the rows.
    """
    import pandas as pd

    nullable = [name for name in frame.columns if getattr(frame[name].dtype, "na_value", None) is pd.NA]
    return frame.astype({name: object for name in nullable}).replace({pd.NA: None}) if nullable else frame
