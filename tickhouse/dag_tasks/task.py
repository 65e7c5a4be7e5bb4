"""Airflow's `@task` plus one rule: an error that a retry cannot fix is not retried."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from airflow import sdk
from airflow.sdk.exceptions import AirflowFailException

from common.errors import TerminalError

P = ParamSpec("P")
R = TypeVar("R")


def no_retry_on_terminal_error(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose terminal errors fail the task without retries."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TerminalError as error:
            raise AirflowFailException(str(error)) from error

    return call


def task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator like `airflow.sdk.task`; all tasks of `dags/` are declared with it.

    Args:
        options: Those of Airflow's decorator.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        return sdk.task(**options)(no_retry_on_terminal_error(function))

    return decorate
