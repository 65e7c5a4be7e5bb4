"""Clients of InfluxDB: one token per job, and errors in terms of our own tree."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.errors import ConfigurationError, StoreUnavailable
from common.settings import REPO, SINK_ROLES, Settings

if TYPE_CHECKING:
    from influxdb_client import InfluxDBClient

TIMEOUT_MS = 60_000
# Buckets. The server removes nothing from TRADES and DAYS (docs/adr/0029-series.md).
TRADES: Final = "trades"
SECONDS: Final = "trades_1s"
MINUTES: Final = "trades_1m"
DAYS: Final = "trades_days"
BUCKETS: Final = (TRADES, SECONDS, MINUTES, DAYS)
MEASUREMENT: Final = "trade"
DAY_MEASUREMENT: Final = "day"

TASKS = REPO / "stack" / "influxdb" / "tasks"
QUERIES = REPO / "stack" / "influxdb" / "queries"
# In the file of a task, the line after the choice of the time range.
BODY = "// -- roll-up --\n"

# Answers that a later try can change, and that no point causes: a token or a bucket is missing, or
# the server has too much to do.
_NOT_OF_A_POINT = (401, 403, 404, 408, 429)


def tokens_file(settings: Settings) -> Path:
    """Return the file with the tokens that the server generated, beside its data (mode 0600)."""
    return settings.home / "data" / "influxdb" / "tokens.json"


def token_of(settings: Settings, role: str) -> str:
    """Return the token of one of `SINK_ROLES`; empty when this home has none.

    The server generates the tokens of `writer` and `reader` at its first start. A setting takes
    precedence.

    Raises:
        ConfigurationError: The role is unknown.
    """
    if role not in SINK_ROLES:
        raise ConfigurationError(f"Expected a role of {SINK_ROLES}, was {role!r}.")
    given = str(getattr(settings, f"influxdb_{role}_token").get_secret_value())
    if given or role == "admin":
        return given
    try:
        return str(json.loads(tokens_file(settings).read_text()).get(role, ""))
    except (OSError, ValueError):
        return ""


def is_set_up(settings: Settings) -> bool:
    """Return whether the streaming job can write to InfluxDB in this home."""
    return bool(token_of(settings, "writer"))


@contextmanager
def connected(settings: Settings, role: str) -> Iterator[InfluxDBClient]:
    """Open a client with the token of one of `SINK_ROLES`, and close it.

    Raises:
        ConfigurationError: The server refuses a request because of its content.
        StoreUnavailable: The server does not answer, or refuses the token.
    """
    with errors():
        client = open_client(settings, role)
        try:
            yield client
        finally:
            client.close()


def open_client(settings: Settings, role: str) -> InfluxDBClient:
    """Return a client with the token of a role; the caller closes it."""
    from influxdb_client import InfluxDBClient

    token = token_of(settings, role)
    return InfluxDBClient(settings.influxdb_url, token, org=settings.influxdb_org, timeout=TIMEOUT_MS, enable_gzip=True)


@contextmanager
def errors() -> Iterator[None]:
    """Turn the errors of the client into ours.

    Raises:
        ConfigurationError: The server refuses a request because of its content.
        StoreUnavailable: The server does not answer, or refuses the token.
    """
    from influxdb_client.client.exceptions import InfluxDBError
    from influxdb_client.rest import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if is_of_content(error.status):
            raise ConfigurationError(f"InfluxDB refuses the request: {reason_of(error)}") from error
        raise _unavailable(reason_of(error)) from error
    except (HTTPError, OSError, InfluxDBError) as error:
        raise _unavailable(str(error)) from error


def is_of_content(status: int | None) -> bool:
    """Return whether a status code means that the request is wrong, and not the server."""
    return status is not None and 400 <= status < 500 and status not in _NOT_OF_A_POINT


def reason_of(error: Exception) -> str:
    """Return the server's own message of an `ApiException`, in one line."""
    body = getattr(error, "body", None) or ""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    try:
        document = json.loads(text)
        return str(document.get("message") or document.get("error") or text)
    except ValueError:
        return f"{getattr(error, 'status', '')} {getattr(error, 'reason', '')} {text}".strip()


def _unavailable(why: str) -> StoreUnavailable:
    return StoreUnavailable(f"InfluxDB does not answer: {why}", next_command="tickhouse logs influxdb")


def flux_text(value: str) -> str:
    """Return a text as a literal of Flux."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def flux_time(time_ns: int) -> str:
    """Return nanoseconds since 1970 UTC as an expression of Flux."""
    return f"time(v: {time_ns})"


def rows_of(
    client: InfluxDBClient, query: str, parameters: Mapping[str, str | datetime] | None = None
) -> Iterator[dict[str, str]]:
    """Yield the rows of a Flux query as texts by column, from the server's CSV.

    The client's own records cost ten times as much.

    Args:
        client: The connection.
        query: Flux.
        parameters: The names that the query leaves open.

    Raises:
        ConfigurationError: The server refuses the query, or ends it with an error.
        StoreUnavailable: The server does not answer.
    """
    from influxdb_client import Dialect

    dialect = Dialect(header=True, delimiter=",", annotations=[], comment_prefix="#", date_time_format="RFC3339Nano")
    with errors():
        text = client.query_api().query_raw(query, dialect=dialect, params=dict(parameters or {})).data.decode()
    header: list[str] = []
    for row in csv.reader(io.StringIO(text)):
        if not row:
            header = []  # an empty line separates tables with other columns
        elif not header:
            header = row
        elif "error" in header:
            raise ConfigurationError(f"InfluxDB ended the query: {dict(zip(header, row, strict=False))['error']}")
        else:
            yield dict(zip(header, row, strict=True))


def query_text(name: str) -> str:
    """Return the text of a query of the dashboards.

    Raises:
        ConfigurationError: There is no such query; the message lists the existing ones.
    """
    known = sorted(path.stem for path in QUERIES.glob("*.flux"))
    if name not in known:
        raise ConfigurationError(f"Expected a query of {', '.join(known)}, was {name!r}.")
    return (QUERIES / f"{name}.flux").read_text()


def late_roll_up(name: str, start_ns: int, stop_ns: int) -> str:
    """Return the Flux of a task for another time range.

    Args:
        name: Name of the task, which is that of its file and of its bucket.
        start_ns: First window, inclusive.
        stop_ns: End of the last window, exclusive.
    """
    _, body = (TASKS / f"{name}.flux").read_text().split(BODY, maxsplit=1)
    return f"start = {flux_time(start_ns)}\nstop = {flux_time(stop_ns)}\n{body}"
