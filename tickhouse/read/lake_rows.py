"""The rows of a read, as Arrow, pandas or polars, with the commit that they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from common.errors import PrerequisiteMissing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class LakeRows:
    """Rows of one table at one commit, sorted by time, then by id.

    Attributes:
        table: Folder of the table in the lake, such as `gold/candles_1m`.
        commit_id: The commit; `as_of=commit_id` reads the same rows again.
        files: Paths of the files that were read.
        missing_days: Wanted partitions that the commit does not have (with `skip_missing_days`).
        banner: What to say beside each figure; empty for real trades.
    """

    table: str
    commit_id: str
    rows: pa.Table = field(repr=False)
    files: tuple[str, ...] = ()
    missing_days: tuple[str, ...] = ()
    banner: str = ""

    @property
    def is_simulated(self) -> bool:
        """Return whether the trades are of a synthetic market."""
        return bool(self.banner)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __repr__(self) -> str:
        missing = f", without {len(self.missing_days)} missing days" if self.missing_days else ""
        said = f"{self.banner}\n" if self.banner else ""
        return f"{said}<{len(self)} rows of {self.table} at commit {self.commit_id}{missing}>"

    def arrow(self, *, floats: bool = False) -> pa.Table:
        """Return an Arrow table: `decimal128` and `timestamp[us, UTC]`.

        Args:
            floats: Return prices, quantities and other decimals as `float64`, which has 15 digits.
        """
        return _with_floats(self.rows) if floats else self.rows

    def pandas(self, *, floats: bool = False) -> pd.DataFrame:
        """Return a pandas DataFrame: `Decimal` objects and `datetime64[us, UTC]`.

        Args:
            floats: Return decimals as `float64`: fast to compute with, and exact to 15 digits.
        """
        return self.arrow(floats=floats).to_pandas()

    def polars(self, *, floats: bool = False) -> Any:
        """Return a polars DataFrame.

        Args:
            floats: Return decimals as `Float64`: fast to compute with, and exact to 15 digits.

        Raises:
            PrerequisiteMissing: polars is not installed.
        """
        try:
            import polars
        except ImportError as error:
            raise PrerequisiteMissing(
                "polars is not installed; Tickhouse does not need it itself.",
                safe="arrow() and pandas() work without it.",
                next_command=".venv/bin/python -m pip install polars",
            ) from error
        return polars.from_arrow(self.arrow(floats=floats))


def _with_floats(rows: pa.Table) -> pa.Table:
    fields = [pa.field(one.name, pa.float64()) if pa.types.is_decimal(one.type) else one for one in rows.schema]
    return rows.cast(pa.schema(fields))
