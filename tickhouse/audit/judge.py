"""Great Expectations over the laws' tables: suites and checkpoints are files, the context lives for one audit.

Importing Great Expectations takes some seconds of CPU, so it is imported when an audit runs, and nowhere else.
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

from tickhouse.audit.relations import EXPECTATIONS

if TYPE_CHECKING:
    import pandas as pd

SITE = "audit"


@dataclass(frozen=True, slots=True)
class Broken:
    """One law that does not hold: the suite, the law in words, and how many rows break it with examples of values."""

    suite: str
    law: str
    rows: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.suite}: {self.law} ({self.rows} rows{': ' if self.examples else ''}{', '.join(self.examples)})"


def suite(name: str, folder: Path = EXPECTATIONS) -> dict[str, Any]:
    """Return a suite's document."""
    document: dict[str, Any] = json.loads((folder / "suites" / f"{name}.json").read_text())
    return document


def checkpoint(name: str, folder: Path = EXPECTATIONS) -> list[str]:
    """Return the laws that a checkpoint judges."""
    laws: list[str] = json.loads((folder / "checkpoints" / f"{name}.json").read_text())["laws"]
    return laws


def judge(tables: Mapping[str, pd.DataFrame], name: str, site: Path) -> list[Broken]:
    """Run a checkpoint over the laws' tables, write its Data Docs, and return what is broken.

    Args:
        tables: Law tables by name; each has a suite of that name.
        name: Name of the run in the Data Docs.
        site: Folder of the Data Docs; made anew.
    """
    with _quiet():
        import great_expectations as gx

        context = gx.get_context(mode="ephemeral")
        for other in context.get_site_names():
            context.delete_data_docs_site(other)
        context.add_data_docs_site(SITE, _site(site))  # type: ignore[arg-type]  # a TypedDict of optional keys
        source = context.data_sources.add_pandas("laws")
        definitions = []
        for law, frame in tables.items():
            batch = source.add_dataframe_asset(law).add_batch_definition_whole_dataframe(name)
            definitions.append((_definition(gx, context, law, batch), frame))
        broken: list[Broken] = []
        for definition, frame in definitions:
            ran = context.checkpoints.add(
                gx.Checkpoint(name=definition.name, validation_definitions=[definition], result_format="SUMMARY")
            ).run(batch_parameters={"dataframe": frame})
            for result in ran.run_results.values():
                broken += [_broken(definition.name, one) for one in result.results if not one.success]
        context.build_data_docs(site_names=[SITE])
    return broken


def _definition(gx: Any, context: Any, law: str, batch: Any) -> Any:
    made = context.suites.add(gx.ExpectationSuite(**suite(law)))
    return context.validation_definitions.add(gx.ValidationDefinition(name=law, data=batch, suite=made))


def _broken(name: str, result: Any) -> Broken:
    details = result.result or {}
    values = details.get("partial_unexpected_list") or []
    if not values and "observed_value" in details:
        values = [details["observed_value"]]
    raised = [one.get("exception_message") for one in _exceptions(result)]
    return Broken(
        name,
        str(result.expectation_config.description),
        int(details.get("unexpected_count") or 0),
        tuple(str(value) for value in [*raised, *values[:3]]),
    )


def _exceptions(result: Any) -> list[dict[str, Any]]:
    info = result.exception_info or {}
    nested = [one for one in info.values() if isinstance(one, dict)]
    return [one for one in [info, *nested] if one.get("raised_exception") is True]


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep progress bars, usage statistics and deprecation notes of the library out of a task's log."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    os.environ["TQDM_DISABLE"] = "1"
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
