"""Logs of our processes: one JSON line per message, in the Elastic Common Schema (ECS), on stderr.

    configure_logging("producer")
    log.warning("store_down", query="candles", error=str(error))

The first argument of a message is a constant: it becomes `message` and `event.action`. A keyword
with a dot is a field of ECS (`event.duration`, `event.id`, `trace.id`), `error` is `error.message`,
and every other keyword becomes a label. `docs/reference/log-fields.md` lists the fields.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import ecs_logging
import structlog
from structlog.typing import EventDict, Processor

from common.errors import TickhouseError

# `scheme://user:password@host`, and `password=...` or `token: ...` of any program.
_URL_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", re.IGNORECASE)
_NAMED_SECRET = re.compile(
    r"((?:password|passwd|secret|token|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)(?!\*)[^\s,;\"'&})\]]+", re.IGNORECASE
)
MASK = "***"
# Airflow sets these for a task and the processes that it starts.
_AIRFLOW = {
    "airflow.dag_id": "AIRFLOW_CTX_DAG_ID",
    "airflow.run_id": "AIRFLOW_CTX_DAG_RUN_ID",
    "airflow.task_id": "AIRFLOW_CTX_TASK_ID",
    "airflow.try_number": "AIRFLOW_CTX_TRY_NUMBER",
}
_FORMATTER = ecs_logging.StructlogFormatter()
_DROPPED = ("_record", "_from_structlog", "color_message")


def configure_logging(service: str, level: int = logging.INFO, *, is_command: bool = False) -> None:
    """Send all messages of this process to standard error as ECS lines.

    Args:
        service: `service.name` of every line: the name of the supervised program.
        level: The lowest level that is written.
        is_command: People read the output, so only our own messages become lines. In a process
            without people, those of libraries and uncaught exceptions do as well.
    """
    chain = _processors(_run_fields(service))
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *chain, _to_json],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    if not is_command:
        _take_other_messages(chain)


class _StandardErrorHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in stubs only
    """Writes to what standard error is at the time of the message."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _take_other_messages(chain: list[Processor]) -> None:
    """Write what libraries log, warnings and uncaught exceptions as ECS lines, too."""
    handler = _StandardErrorHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, _logger_of_record],
            processors=[*chain, _to_json],
        )
    )
    # At level INFO, clients log every request.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


@contextmanager
def correlated(trace_id: str, **fields: Any) -> Iterator[None]:
    """Give every message inside the block the same `trace.id`.

    Args:
        trace_id: Names one batch, run or event: `lake_trades:42`, or the id of an alert.
        fields: Further fields; `__` in a name stands for the dot (`stream__query`).
    """
    dotted = {name.replace("__", "."): value for name, value in fields.items()}
    with structlog.contextvars.bound_contextvars(**{"trace.id": trace_id, **dotted}):
        yield


def mask_secrets(text: str) -> str:
    """Return a text without the passwords of URLs and without values named like a secret."""
    if "://" in text:
        text = _URL_LOGIN.sub(rf"\g<1>{MASK}@", text)
    return _NAMED_SECRET.sub(rf"\g<1>{MASK}", text)


def _run_fields(service: str) -> dict[str, Any]:
    """Return what is the same for all messages of this process.

    A process that Airflow started shares its `trace.id` with the run of the DAG.
    """
    airflow = {field: os.environ[name] for field, name in _AIRFLOW.items() if os.environ.get(name)}
    started = f"{service}:{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    run = airflow_trace(airflow.get("airflow.dag_id"), airflow.get("airflow.run_id")) or started
    return {"service.name": service, "event.dataset": f"{service}.log", "trace.id": run, **airflow}


def airflow_trace(dag_id: object, run_id: object) -> str:
    """Return the `trace.id` of a run of a DAG; empty when a part is missing."""
    return f"{dag_id}:{run_id}" if dag_id and run_id else ""


def _processors(run: Mapping[str, Any]) -> list[Processor]:
    def add_run(_: Any, __: str, event: EventDict) -> EventDict:
        for name, value in run.items():
            event.setdefault(name, value)
        return event

    return [add_run, _ecs_error, _ecs_names]


def _to_json(logger: Any, name: str, event: EventDict) -> str:
    return _FORMATTER(logger, name, dict(event))


def _logger_of_record(_: Any, __: str, event: EventDict) -> EventDict:
    event["log.logger"] = event["_record"].name
    return event


def _ecs_error(_: Any, __: str, event: EventDict) -> EventDict:
    error = _exception(event.pop("exc_info", None))
    text = event.pop("error", None)
    if text is not None:
        event["error.message"] = str(text)
    if error is not None:
        event.setdefault("error.message", str(error))
        event["error.type"] = type(error).__name__
        if not isinstance(error, TickhouseError):  # ours say the cause and what to do
            event["error.stack_trace"] = "".join(traceback.format_exception(error))
    return event


def _exception(given: object) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exc_info()[1] if given else None


def _ecs_names(_: Any, __: str, event: EventDict) -> EventDict:
    """Keep fields of ECS, make everything else a label, and mask secrets."""
    fields = {name: value for name, value in event.items() if name == "event" or "." in name}
    if "_record" not in event:
        fields["event.action"] = str(event["event"])
    others = {name: value for name, value in event.items() if name not in fields and name not in _DROPPED}
    labels = {name: plain(value) for name, value in others.items() if value is not None}
    if labels:
        fields["labels"] = labels
    fields["@timestamp"] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {name: mask_secrets(value) if isinstance(value, str) else value for name, value in fields.items()}


def plain(value: Any) -> Any:
    """Return a value that JSON and the field `labels` of the index can hold.

    A dot in the name of a label would begin a nested field, so it becomes an underscore.
    """
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name).replace(".", "_"): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return mask_secrets(str(value))


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger("common.logs").critical("uncaught", exc_info=error)
