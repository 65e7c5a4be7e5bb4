"""Airflow's `@task` plus two rules, and what all tasks of `dags/` have in common.

An error that a retry cannot fix is not retried, and the text of the error that failed a task is
kept for the alert (`failures.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from airflow import sdk
from airflow.sdk import BaseOperatorLink
from airflow.sdk.exceptions import AirflowFailException

from common.errors import TerminalError
from tickhouse.dag_tasks.failures import keep_failure

P = ParamSpec("P")
R = TypeVar("R")

# Airflow's lists show the owner, and filter by it.
OWNER: Final = "tickhouse"
# The `default_args` of every DAG begin with these.
TASK_DEFAULTS: Final[dict[str, Any]] = {"owner": OWNER, "on_failure_callback": keep_failure}


def no_retry_on_terminal_error(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose terminal errors fail the task without retries."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TerminalError as error:
            raise AirflowFailException(str(error)) from error

    return call


def task(*, links: Sequence[BaseOperatorLink] = (), **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator like `airflow.sdk.task`; all tasks of `dags/` are declared with it.

    Args:
        links: Links that Airflow shows at the task (`links.py`).
        options: Those of Airflow's decorator.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        declared: Any = sdk.task(**options)(no_retry_on_terminal_error(function))
        if links:
            # Airflow reads the links from the class of the operator and takes no argument for them.
            base = declared.operator_class
            declared.operator_class = type(base.__name__, (base,), {"operator_extra_links": tuple(links)})
        return declared

    return decorate
