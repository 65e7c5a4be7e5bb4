"""The decorator of all tasks: terminal errors are not retried, any other error is."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from common.errors import ConfigurationError, StoreUnavailable
from tickhouse.dag_tasks.task import no_retry_on_terminal_error, task


def test_a_terminal_error_is_not_retried() -> None:
    @no_retry_on_terminal_error
    def wrong() -> None:
        raise ConfigurationError("no such ref", next_command="tickhouse lake log main")

    with pytest.raises(AirflowFailException, match="no such ref Next: tickhouse lake log main"):
        wrong()


def test_a_transient_error_passes_through_and_is_retried() -> None:
    @no_retry_on_terminal_error
    def down() -> None:
        raise StoreUnavailable("down")

    with pytest.raises(StoreUnavailable):
        down()


def test_a_task_keeps_the_name_of_its_function_and_airflows_options() -> None:
    @task(trigger_rule="one_failed")
    def announce(run_id: str) -> str:
        return run_id

    assert announce.operator_class.custom_operator_name == "@task"
    assert announce.kwargs["trigger_rule"] == "one_failed"
    assert announce.function.__name__ == "announce"
    assert announce.function("r") == "r"
