"""A message of any log becomes a document: fields of the Elastic Common Schema, and an id (pure).

No message is lost because nothing fits it: its text is `message`, and `tags` has `unparsed`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.logs import airflow_trace, mask_secrets, plain
from tickhouse.logs.sources import LEVELS, LogFormat, LogSources

ECS_VERSION = "1.6.0"
UNPARSED = "unparsed"
# Longer texts are cut: a search shows the beginning, and the file has the rest.
MOST_MESSAGE = 16_384
MOST_STACK_TRACE = 32_768

# Fields that a line of one of our processes may have, besides `labels`. The index refuses others,
# so another field becomes a label.
FIELDS = frozenset(
    {
        *("@timestamp", "message", "ecs.version", "service.name", "trace.id", "tags"),
        *("event.dataset", "event.action", "event.id", "event.duration"),
        *("log.level", "log.logger", "log.file.path", "log.offset"),
        *("log.origin.file.name", "log.origin.file.line", "log.origin.function"),
        *("error.type", "error.message", "error.stack_trace", "process.pid", "process.thread.name"),
        *("airflow.dag_id", "airflow.run_id", "airflow.task_id", "airflow.try_number"),
        *("stream.query", "stream.batch_id"),
    }
)
_NUMBERS = (
    "event.duration",
    "log.offset",
    "log.origin.file.line",
    "process.pid",
    "airflow.try_number",
    "stream.batch_id",
)
# supervisord renames a full log; its messages stay those of the log.
_ROTATED = re.compile(r"\.log\.\d+$")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# The exception below a message: `java.io.IOException: text`, `psycopg.OperationalError: text`.
_EXCEPTION = re.compile(
    r"^(?:Caused by: )?((?:[\w$]+\.)*[\w$]*(?:Error|Exception|Failure|Timeout))(?:: (.*))?$", re.MULTILINE
)
_GROUPS = {
    "message": "message",
    "logger": "log.logger",
    "thread": "process.thread.name",
    "pid": "process.pid",
    "action": "event.action",
}
_AIRFLOW = {
    "event": "message",
    "logger": "log.logger",
    "filename": "log.origin.file.name",
    "lineno": "log.origin.file.line",
    "func_name": "log.origin.function",
    "dag_id": "airflow.dag_id",
    "run_id": "airflow.run_id",
    "task_id": "airflow.task_id",
    "try_number": "airflow.try_number",
    "correlation_id": "trace.id",
}


@dataclass(frozen=True, slots=True)
class LogDocument:
    """A document of the index: its id, and its fields by dotted name."""

    id: str
    fields: dict[str, Any]

    @property
    def day(self) -> str:
        """Return the day of the message as the index is called after it: `2026.11.30`."""
        return str(self.fields["@timestamp"])[:10].replace("-", ".")

    @property
    def is_parsed(self) -> bool:
        """Return whether a format of its source fitted the message."""
        return UNPARSED not in self.fields.get("tags", ())


def parse_message(sources: LogSources, path: str, text: str, offset: int, received: datetime) -> LogDocument:
    """Return the document of one message.

    Args:
        sources: The declaration.
        path: The file, below the home.
        text: One or more lines.
        offset: Position in the file, in bytes.
        received: Time of a message that has none of its own; in UTC.

    The same message gives the same id when it is read again. rsyslog reads again what it had not
    confirmed, and then gives another offset for the first message. So the offset is part of the id
    only for a message without a time: two messages of a file with the same time and the same text
    are one document.
    """
    path = _ROTATED.sub(".log", path)
    program, formats = sources.source_of(path)
    cleaned = _ANSI.sub("", text).strip("\r\n")
    found = next((fields for one in formats if (fields := _parsed(sources, one, cleaned)) is not None), None)
    has_time = found is not None and "@timestamp" in found
    fields = {
        "@timestamp": _iso(received),
        "log.level": "info",
        "ecs.version": ECS_VERSION,
        "service.name": program,
        "event.dataset": f"{program}.log",
        **(found if found is not None else {"message": cleaned, "tags": [UNPARSED]}),
        "log.file.path": path,
        "log.offset": offset,
    }
    return LogDocument(_id(path, cleaned, "" if has_time else str(offset)), _masked(fields))


def _id(path: str, text: str, place: str) -> str:
    """Return a hash of file and text; of a line of ours inside a line of Airflow, of that line.

    Airflow writes the line of a Spark driver into the log of the task and into its own.
    """
    inner = _json_object(text) if '"event":"{\\"@timestamp' in text else None
    known = f"{path}\0{place}\0{text}" if inner is None else str(inner.get("event"))
    return hashlib.sha1(known.encode()).hexdigest()  # noqa: S324 - an id, no protection


def _parsed(sources: LogSources, log_format: LogFormat, text: str) -> dict[str, Any] | None:
    """Return the fields of a message in one format; None when the format does not fit."""
    if log_format.kind == "pattern":
        return _by_pattern(sources, log_format, text)
    if log_format.kind == "plain":
        return {"message": text}
    document = _json_object(text)
    if document is None:
        return None
    return of_ecs(document) if log_format.kind == "ecs" else _of_airflow(sources, document)


def _json_object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _by_pattern(sources: LogSources, log_format: LogFormat, text: str) -> dict[str, Any] | None:
    found = log_format.compiled.fullmatch(text)
    if found is None or log_format.time is None:
        return None
    groups = {name: value for name, value in found.groupdict().items() if value is not None}
    fields: dict[str, Any] = {field: groups[group] for group, field in _GROUPS.items() if groups.get(group)}
    try:
        fields["@timestamp"] = _iso(_time(groups["time"], log_format.time.python))
    except ValueError:
        return None
    if "level" in groups:
        fields["log.level"] = sources.level_by_name.get(groups["level"].upper(), "info")
    if "client" in groups:
        fields["labels"] = {"client": groups["client"]}
    return _with_exception(fields)


def _with_exception(fields: dict[str, Any]) -> dict[str, Any]:
    """Move the lines below a message into `error.stack_trace` when they name an exception."""
    first, _, rest = str(fields.get("message", "")).partition("\n")
    found = _EXCEPTION.search(rest)
    if found is None:
        return fields
    error = {"error.type": found[1].rpartition(".")[2], "error.stack_trace": rest}
    return {**fields, "message": first, **error, **({"error.message": found[2]} if found[2] else {})}


def of_ecs(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields of a line of one of our processes; None when it is not one."""
    if "message" not in document:
        return None
    try:
        fields: dict[str, Any] = {"@timestamp": _iso(_time(str(document.get("@timestamp")), "iso"))}
    except (ValueError, OverflowError):
        return None
    labels = document.get("labels")
    others = dict(labels) if isinstance(labels, Mapping) else {}
    for name, value in _flat({name: value for name, value in document.items() if name != "labels"}):
        if name in FIELDS:
            fields.setdefault(name, value)
        else:
            others[name.replace(".", "_")] = plain(value)
    return {**fields, **({"labels": others} if others else {})}


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in document.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return found


def _of_airflow(sources: LogSources, document: dict[str, Any]) -> dict[str, Any] | None:
    if "event" not in document or "timestamp" not in document:
        return None
    fields = {field: document[name] for name, field in _AIRFLOW.items() if document.get(name) is not None}
    fields["@timestamp"] = _iso(_time(str(document["timestamp"]), "iso"))
    fields["log.level"] = sources.level_by_name.get(str(document.get("level", "")).upper(), "info")
    if run := airflow_trace(document.get("dag_id"), document.get("run_id")):
        fields["trace.id"] = run
    if isinstance(took := document.get("duration_us"), int | float):
        fields["event.duration"] = int(took * 1000)
    known = {*_AIRFLOW, "timestamp", "level", "duration_us", "error_detail", "exception"}
    labels = {name: plain(value) for name, value in document.items() if name not in known and value is not None}
    fields.update(_airflow_error(document))
    return {**fields, **({"labels": labels} if labels else {}), **_of_spark(sources, str(document["event"]))}


def _airflow_error(document: Mapping[str, Any]) -> dict[str, Any]:
    details = document.get("error_detail") or document.get("exception")
    if not isinstance(details, list) or not details or not isinstance(details[0], Mapping):
        return {}
    first = details[0]
    frames = [f"  {one.get('filename')}:{one.get('lineno')} in {one.get('name')}" for one in first.get("frames", ())]
    trace = "\n".join([*frames, f"{first.get('exc_type')}: {first.get('exc_value')}"])
    return {
        "error.type": str(first.get("exc_type", "")),
        "error.message": str(first.get("exc_value", "")),
        "error.stack_trace": trace,
    }


def _of_spark(sources: LogSources, event: str) -> dict[str, Any]:
    """Return the fields of a line that a Spark driver wrote into the log of its task."""
    document = _json_object(event)
    if document is not None:
        return of_ecs(document) or {}
    found = _by_pattern(sources, sources.formats["log4j"], event)
    if found is not None:
        return {**found, "service.name": "spark", "event.dataset": "spark.log"}
    return _by_pattern(sources, sources.formats["librdkafka"], event) or {}


def _time(text: str, how: str) -> datetime:
    """Return a time of a log; one without a zone is UTC, as the stack runs with TZ=UTC.

    Raises:
        ValueError: The text is no such time.
    """
    if how == "epoch":
        return datetime.fromtimestamp(float(text), UTC)
    moment = datetime.fromisoformat(text.replace(",", ".")) if how == "iso" else datetime.strptime(text, how)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _masked(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as the index takes them: secrets masked, texts cut, numbers as numbers."""
    masked = {name: mask_secrets(value) if isinstance(value, str) else value for name, value in fields.items()}
    masked["message"] = str(masked.get("message", ""))[:MOST_MESSAGE]
    if "error.stack_trace" in masked:
        masked["error.stack_trace"] = str(masked["error.stack_trace"])[:MOST_STACK_TRACE]
    if masked["log.level"] not in LEVELS:
        masked["log.level"] = "info"
    for name in _NUMBERS:
        if name in masked:
            masked[name] = _whole(masked[name])
    return {name: value for name, value in masked.items() if value is not None}


def _whole(value: object) -> int | None:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]  # what is no number becomes None
    except (TypeError, ValueError):
        return None
