"""Run Great Expectations over the laws' tables.

Suites and checkpoints are files. The Great Expectations context exists only during one audit.
Importing Great Expectations takes seconds of CPU, so it is imported only when an audit runs.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickhouse.checks.audit.lake_views import EXPECTATIONS

if TYPE_CHECKING:
    import pandas as pd

SITE = "audit"


@dataclass(frozen=True, slots=True)
class BrokenLaw:
    """One law that does not hold.

    Attributes:
        suite: The suite that declares it.
        law: The law in words.
        rows: How many rows break it.
        examples: Rows or values that break it.
        severity: As the suite declares: `critical` stops the publication, a `warning` is shown to
            people, an `info` is only in the report.
    """

    suite: str
    law: str
    rows: int
    examples: tuple[str, ...]
    severity: str = "critical"

    def __str__(self) -> str:
        return f"{self.suite}: {self.law} ({self.rows} rows{': ' if self.examples else ''}{', '.join(self.examples)})"


def suite(name: str, folder: Path = EXPECTATIONS) -> dict[str, Any]:
    """Return a suite's document."""
    document: dict[str, Any] = json.loads((folder / "suites" / f"{name}.json").read_text())
    return document


def checkpoint(name: str, folder: Path = EXPECTATIONS) -> list[str]:
    """Return the names of the laws of a checkpoint."""
    laws: list[str] = json.loads((folder / "checkpoints" / f"{name}.json").read_text())["laws"]
    return laws


def run_checkpoint(tables: Mapping[str, pd.DataFrame], name: str, site: Path) -> list[BrokenLaw]:
    """Run a checkpoint over the laws' tables, write its Data Docs, and return the broken laws.

    Args:
        tables: Law tables by name; each has a suite of that name.
        name: Name of the run in the Data Docs.
        site: Folder of the Data Docs; it is made.
    """
    with _silence_library():
        import great_expectations as gx

        context = gx.get_context(mode="ephemeral")
        for other in context.get_site_names():
            context.delete_data_docs_site(other)
        context.add_data_docs_site(SITE, _site_config(site))  # type: ignore[arg-type]  # a TypedDict of optional keys
        source = context.data_sources.add_pandas("laws")
        definitions = []
        for law, frame in tables.items():
            batch = source.add_dataframe_asset(law).add_batch_definition_whole_dataframe(name)
            definitions.append((_add_definition(gx, context, law, batch), frame))
        broken: list[BrokenLaw] = []
        for definition, frame in definitions:
            ran = context.checkpoints.add(
                gx.Checkpoint(name=definition.name, validation_definitions=[definition], result_format="SUMMARY")
            ).run(batch_parameters={"dataframe": frame})
            for result in ran.run_results.values():
                broken += [_broken_law(definition.name, one, frame) for one in result.results if not one.success]
        context.build_data_docs(site_names=[SITE])
    return broken


def _add_definition(gx: Any, context: Any, law: str, batch: Any) -> Any:
    made = context.suites.add(gx.ExpectationSuite(**suite(law)))
    return context.validation_definitions.add(gx.ValidationDefinition(name=law, data=batch, suite=made))


def _broken_law(name: str, result: Any, frame: pd.DataFrame) -> BrokenLaw:
    details = result.result or {}
    values = details.get("partial_unexpected_list") or []
    if not values and "observed_value" in details:
        values = [details["observed_value"]]
    messages = [one.get("exception_message") for one in _exceptions(result)]
    return BrokenLaw(
        name,
        str(result.expectation_config.description),
        int(details.get("unexpected_count") or 0),
        tuple(str(value) for value in [*messages, *(_rows_of(result, frame) or values[:3])]),
        result.expectation_config.severity.value,
    )


def _rows_of(result: Any, frame: pd.DataFrame) -> list[str]:
    """Return up to three rows that break a law of one column as `<subject>: <value>`.

    The result is empty for other laws.
    """
    column = result.expectation_config.kwargs.get("column")
    subject = [name for name in ("market", "symbol", "stream", "date") if name in frame.columns]
    values = set((result.result or {}).get("partial_unexpected_list") or [])
    if column not in frame.columns or not subject or not values:
        return []
    rows = frame[frame[column].isin(values)].head(3)
    return [f"{' '.join(str(row[name]) for name in subject)}: {row[column]}" for _, row in rows.iterrows()]


def _exceptions(result: Any) -> list[dict[str, Any]]:
    info = result.exception_info or {}
    nested = [one for one in info.values() if isinstance(one, dict)]
    return [one for one in [info, *nested] if one.get("raised_exception") is True]


def _site_config(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


@contextlib.contextmanager
def _silence_library() -> Any:
    """Keep the library's progress bars, statistics and warnings out of the log of a task."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    os.environ["TQDM_DISABLE"] = "1"
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
