"""Read a table of the lake as it was at a commit, tag or branch: Parquet through the S3 gateway, no server in between.

A reference is resolved to its commit first, so one answer is of one commit, and uncommitted files are not in it. Of
bronze only what a manifest names is read; the partition folders (`date`, `hour`, `month`) are columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from lakefs import Reference
from pyarrow.fs import S3FileSystem

from tickhouse.errors import ConfigurationError, StoreUnavailable
from tickhouse.lake.client import lake_errors, repository
from tickhouse.settings import Settings

LAYERS = ("gold", "silver", "bronze")
OPERATORS = {
    "!=": pc.not_equal,
    "<=": pc.less_equal,
    ">=": pc.greater_equal,
    "=": pc.equal,
    "<": pc.less,
    ">": pc.greater,
}
_CONDITION = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*")
# Folders are text: a date compares as it reads, and a month has no type of its own.
_PARTITIONING = ds.partitioning(
    pa.schema([("date", pa.string()), ("hour", pa.string()), ("month", pa.string())]), flavor="hive"
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a table.

    Attributes:
        table: `gold/candles_1m`, or `candles_1m` alone, looked for in gold, silver, bronze.
        conditions: `column OP value`, OP one of = != < <= > >=; all must hold.
        columns: Of the answer; none means all.
        limit: Rows of the answer at most.
    """

    table: str
    conditions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows, and the commit and table they are of."""

    commit_id: str
    table: str
    rows: pa.Table

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON; a decimal stays text with all its digits."""
        return {"commit": self.commit_id, "table": self.table, "rows": self.rows.to_pylist()}


def filesystem(settings: Settings) -> S3FileSystem:
    """Return the S3 gateway as a file system; a path is `<repository>/<ref>/<object>`."""
    parts = urlsplit(settings.lakefs_endpoint)
    return S3FileSystem(
        access_key=settings.lakefs_access_key_id,
        secret_key=settings.lakefs_secret_access_key.get_secret_value(),
        endpoint_override=parts.netloc,
        scheme=parts.scheme,
        region="us-east-1",
    )


def dataset(settings: Settings, commit_id: str, paths: Sequence[str]) -> ds.Dataset:
    """Return Parquet files of one commit as a dataset; the folders of their paths are columns."""
    root = f"{settings.lake_repository}/{commit_id}"
    return ds.dataset(
        [f"{root}/{path}" for path in paths],
        filesystem=filesystem(settings),
        format="parquet",
        partitioning=_PARTITIONING,
        partition_base_dir=root,
    )


def query(settings: Settings, ref: str, question: Question) -> Answer:
    """Answer a question about a table as it was at a reference.

    Raises:
        ConfigurationError: No such reference, table or column, or a condition does not parse.
        StoreUnavailable: The lake does not answer, or a file cannot be read.
    """
    with lake_errors(settings):
        lake = repository(settings)
        at = lake.ref(str(lake.ref(ref).get_commit().id))
        table, paths = find(at, question.table)
    try:
        rows = _read(dataset(settings, at.id, paths), question)
    except OSError as error:
        raise StoreUnavailable(f"{table} at {ref} cannot be read: {error}.", next_command="tickhouse status") from error
    return Answer(at.id, table, rows)


def _read(found: ds.Dataset, question: Question) -> pa.Table:
    wanted = [*question.columns] or [name for name in found.schema.names if not _is_unused(found, name)]
    if unknown := sorted(set(wanted) - set(found.schema.names)):
        raise ConfigurationError(f"Expected a column of {found.schema.names}, was {unknown[0]!r}.")
    chosen = condition(found.schema, question.conditions)
    return found.head(question.limit, columns=wanted, filter=chosen)


def _is_unused(found: ds.Dataset, name: str) -> bool:
    """Return whether a partition column has no folder in this table's paths."""
    return name in _PARTITIONING.schema.names and f"/{name}=" not in next(iter(found.files), "")


def find(at: Reference, table: str) -> tuple[str, list[str]]:
    """Return a table's whole name and its files at a reference.

    Raises:
        ConfigurationError: The reference has no such table.
        ServerException: lakeFS refuses or fails.
    """
    names = [table.strip("/")] if "/" in table else [f"{layer}/{table}" for layer in LAYERS]
    for name in names:
        if paths := _files(at, name):
            return name, paths
    raise ConfigurationError(f"{at.id[:12]} has no table {table!r}.", next_command="tickhouse lake query --help")


def _files(at: Reference, table: str) -> list[str]:
    if table.startswith("bronze/"):
        manifests = at.objects(prefix=f"bronze/_manifests/{table.removeprefix('bronze/')}/")
        return sorted(path for one in manifests for path in _named(at, one.path))
    # Names that begin with _ or . are not data, in Spark's and Arrow's eyes alike.
    listed = (one.path for one in at.objects(prefix=f"{table}/"))
    return [path for path in listed if path.endswith(".parquet") and not _is_hidden(path)]


def _is_hidden(path: str) -> bool:
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def _named(at: Reference, manifest: str) -> Iterable[str]:
    with at.object(manifest).reader(mode="r") as reader:
        return [str(file["path"]) for file in json.loads(reader.read())["files"]]


def condition(schema: pa.Schema, texts: Iterable[str]) -> pc.Expression | None:
    """Return `column OP value` texts as one filter; None without any (pure).

    Raises:
        ConfigurationError: A text does not parse, or names no column, or its value is not of the column's type.
    """
    whole: pc.Expression | None = None
    for text in texts:
        one = _one_condition(schema, text)
        whole = one if whole is None else whole & one
    return whole


def _one_condition(schema: pa.Schema, text: str) -> pc.Expression:
    parsed = _CONDITION.fullmatch(text)
    if parsed is None:
        raise ConfigurationError(f"Expected a condition such as 'symbol=BTCUSDT', was {text!r}.")
    column, operator, value = parsed.groups()
    if column not in schema.names:
        raise ConfigurationError(f"Expected a column of {schema.names}, was {column!r}.")
    kind = schema.field(column).type
    try:
        literal = pa.scalar(value.strip("'\"")).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigurationError(f"Expected a {kind} for {column}, was {value!r}: {error}") from error
    compared: pc.Expression = OPERATORS[operator](pc.field(column), literal)
    return compared
