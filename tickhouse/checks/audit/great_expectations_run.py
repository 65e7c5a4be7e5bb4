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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickhouse.checks.audit.lake_views import EXPECTATIONS
from tickhouse.checks.audit.outcomes import NO_DATA, LawOutcome, Outcome

if TYPE_CHECKING:
    import pandas as pd

SITE = "audit"
# Failing rows that a report keeps of a law.
MOST_ROWS = 20
# Columns that say which row of a law's table it is.
SUBJECTS = ("table", "column", "topic", "path", "interval", "market", "symbol", "stream", "date", "month")
COLUMNS = ("column", "column_A", "column_B")
# COMPLETE names the rows that break a law. The pages show few values of each.
RESULT_FORMAT = {"result_format": "COMPLETE", "partial_unexpected_count": MOST_ROWS}


def suite(name: str, folder: Path = EXPECTATIONS) -> dict[str, Any]:
    """Return a suite's document."""
    document: dict[str, Any] = json.loads((folder / "suites" / f"{name}.json").read_text())
    return document


def checkpoint(name: str, folder: Path = EXPECTATIONS) -> list[str]:
    """Return the names of the laws of a checkpoint."""
    laws: list[str] = json.loads((folder / "checkpoints" / f"{name}.json").read_text())["laws"]
    return laws


def run_checkpoint(tables: Mapping[str, pd.DataFrame], name: str, site: Path) -> list[LawOutcome]:
    """Run a checkpoint over the laws' tables, write its Data Docs, and return what came out.

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
        outcomes: list[LawOutcome] = []
        for definition, frame in definitions:
            ran = context.checkpoints.add(
                gx.Checkpoint(name=definition.name, validation_definitions=[definition], result_format=RESULT_FORMAT)
            ).run(batch_parameters={"dataframe": frame})
            for result in ran.run_results.values():
                outcomes += [_outcome(definition.name, one, frame) for one in result.results]
        context.build_data_docs(site_names=[SITE])
    return outcomes


def _add_definition(gx: Any, context: Any, law: str, batch: Any) -> Any:
    made = context.suites.add(gx.ExpectationSuite(**suite(law)))
    return context.validation_definitions.add(gx.ValidationDefinition(name=law, data=batch, suite=made))


def _outcome(name: str, result: Any, frame: pd.DataFrame) -> LawOutcome:
    details, config = result.result or {}, result.expectation_config
    errors = [str(frame["error"].iloc[0])] if _is_error(frame) else []
    errors += [] if errors else [str(one.get("exception_message")) for one in _exceptions(result)]
    is_broken = not result.success or _is_error(frame)
    outcome: Outcome = "failed" if is_broken else "passed"
    if not errors and _is_without_data(result, frame):
        outcome = NO_DATA
    rows = [] if result.success else _failing_rows(result, frame)
    return LawOutcome(
        name,
        str(config.description),
        outcome,
        is_broken=is_broken,
        severity=config.severity.value,
        rows=int(details.get("unexpected_count") or 0),
        examples=() if result.success else (*errors, *_examples(result, frame, rows)),
        failing=tuple(rows),
        reason=str((config.meta or {}).get("reason", "")),
        error=errors[0] if errors else "",
    )


def _is_error(frame: pd.DataFrame) -> bool:
    """Return whether a law's table is only the error that its query gave."""
    return list(frame.columns) == ["error"]


def _columns(result: Any) -> list[str]:
    return [value for key, value in result.expectation_config.kwargs.items() if key in COLUMNS]


def _is_without_data(result: Any, frame: pd.DataFrame) -> bool:
    """Return whether there was no value that the law could be about."""
    columns = _columns(result)
    if not len(frame):
        return True
    if not columns or result.expectation_config.type == "expect_column_values_to_be_null":
        return False
    return all(column in frame.columns and bool(frame[column].isna().all()) for column in columns)


def _failing_rows(result: Any, frame: pd.DataFrame) -> list[dict[str, str]]:
    """Return the first rows that break a law: what names the row, and the columns of the law."""
    indices = (result.result or {}).get("unexpected_index_list") or []
    shown = [name for name in (*SUBJECTS, *_columns(result)) if name in frame.columns]
    rows = frame.loc[indices[:MOST_ROWS], list(dict.fromkeys(shown))]
    return [{str(name): _text(value) for name, value in row.items()} for row in rows.to_dict("records")]


def _text(value: Any) -> str:
    return "none" if value is None or value != value else str(value)  # noqa: PLR0124  # only NaN differs from itself


def _examples(result: Any, frame: pd.DataFrame, rows: list[dict[str, str]]) -> list[str]:
    """Return up to three rows in a few words: `<what>: <value>`, or `<what>: <value> / <other>`."""
    columns = _columns(result)
    if not rows:
        observed = (result.result or {}).get("observed_value")
        return [] if observed is None or not len(frame) else [str(observed)]
    subjects = [name for name in rows[0] if name not in columns]
    return [
        ": ".join(filter(None, (" ".join(row[name] for name in subjects), " / ".join(row[name] for name in columns))))
        for row in rows[:3]
    ]


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
