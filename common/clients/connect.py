"""The REST API of a Connect worker (https://kafka.apache.org/documentation/#connect_rest)."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import httpx

from common.errors import ConfigurationError, ServiceNotReady
from common.polling import poll_until
from common.settings import Settings

ANSWER_S = 30.0

# During a rebalance, in which connectors move between workers for some seconds, the worker answers
# every change with 409.
REBALANCE_S = 60.0
POLL_EVERY_S = 0.5

STOPPED = "STOPPED"

T = TypeVar("T")


class Worker:
    """A client of one Connect worker; any worker of a group answers for the whole group.

    Args:
        url: Its REST address.
        login: User and password, None for a worker without a login.
        transport: Replaces the network in tests.
        clock: Returns a monotonic time in seconds.
        sleep: Waits for the given seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        login: tuple[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(base_url=url, auth=login, timeout=ANSWER_S, transport=transport, trust_env=False)
        self._url = url
        self._clock, self._sleep = clock, sleep

    @classmethod
    def of(cls, settings: Settings) -> Worker:
        """Return a client of the worker in the settings."""
        url, user, password = settings.connect_login()
        return cls(url, login=(user, password))

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def configs(self) -> dict[str, dict[str, str]]:
        """Return the configuration of every connector by name; the key `name` is left out."""
        found: dict[str, Any] = self._ask("GET", "/connectors?expand=info")
        return {name: _without_name(one["info"]["config"]) for name, one in sorted(found.items())}

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Return the status of every connector and its tasks, by connector name."""
        found: dict[str, Any] = self._ask("GET", "/connectors?expand=status")
        return {name: one["status"] for name, one in sorted(found.items())}

    def put(self, name: str, config: dict[str, str]) -> None:
        """Create a connector, or change its configuration."""
        self._ask("PUT", f"/connectors/{name}/config", config)

    def config_errors(self, name: str, config: dict[str, str]) -> dict[str, list[str]]:
        """Return the errors of the worker's own validation, by configuration key."""
        kind = config.get("connector.class", "")
        answer = self._ask("PUT", f"/connector-plugins/{kind}/config/validate", {"name": name, **config})
        values = [one["value"] for one in answer["configs"]]
        return {value["name"]: value["errors"] for value in values if value["errors"]}

    def restart(self, name: str, *, only_failed: bool) -> None:
        """Restart a connector and its tasks, or only the failed ones."""
        flag = str(only_failed).lower()
        self._ask("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed={flag}")

    def restart_task(self, name: str, task: int) -> None:
        """Restart one task of a connector."""
        self._ask("POST", f"/connectors/{name}/tasks/{task}/restart")

    def stop(self, name: str) -> None:
        """Stop a connector; unlike a paused one it has no tasks, and its offsets can be changed."""
        self._ask("PUT", f"/connectors/{name}/stop")

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """Return how far a connector has read: `topic`, `partition` and `offset`, the next to read.

        A sink has committed offsets only after its first batch.
        """
        found: dict[str, Any] = self._ask("GET", f"/connectors/{name}/offsets")
        places = [(one["partition"], one["offset"]["kafka_offset"]) for one in found["offsets"]]
        rows = [(at["kafka_topic"], int(at["kafka_partition"]), int(offset)) for at, offset in places]
        return [{"topic": topic, "partition": number, "offset": offset} for topic, number, offset in sorted(rows)]

    def plugins(self) -> list[dict[str, str]]:
        """Return what the worker can run: `class`, `type` and `version` of each plugin, sorted."""
        found: list[dict[str, Any]] = self._ask("GET", "/connector-plugins?connectorsOnly=false")
        rows = [{name: str(one.get(name) or "") for name in ("class", "type", "version")} for one in found]
        return sorted(rows, key=lambda row: (row["type"], row["class"]))

    def log_levels(self) -> dict[str, str]:
        """Return the level of each logger of the worker that has one of its own."""
        found: dict[str, Any] = self._ask("GET", "/admin/loggers")
        return {name: str(one["level"]) for name, one in sorted(found.items())}

    def set_log_level(self, logger: str, level: str) -> list[str]:
        """Set the level of a logger and those below it until the worker restarts; return them."""
        changed: list[str] | None = self._ask("PUT", f"/admin/loggers/{logger}", {"level": level})
        return changed or [logger]

    def pause(self, name: str) -> None:
        """Pause a connector; its tasks keep their partitions."""
        self._ask("PUT", f"/connectors/{name}/pause")

    def resume(self, name: str) -> None:
        """Resume a paused connector."""
        self._ask("PUT", f"/connectors/{name}/resume")

    def delete(self, name: str) -> None:
        """Delete a connector; its offsets and the records it wrote are kept."""
        self._ask("DELETE", f"/connectors/{name}")

    def reset_offsets(self, name: str) -> None:
        """Stop a connector, delete its offsets, and resume it from the start of its topics.

        Raises:
            ServiceNotReady: Its tasks did not stop in time; the connector stays stopped, with its
                offsets.
        """
        self.stop(name)
        if not self._poll(lambda: self._is_stopped(name)):
            raise ServiceNotReady(
                f"{name} did not stop within {REBALANCE_S:.0f} s.", next_command=f"tickhouse connectors resume {name}"
            )
        self._ask("DELETE", f"/connectors/{name}/offsets")
        self.resume(name)

    def _is_stopped(self, name: str) -> bool:
        status: dict[str, Any] = self._ask("GET", f"/connectors/{name}/status")
        return bool(status["connector"]["state"] == STOPPED and not status["tasks"])

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        def answer_unless_rebalancing() -> httpx.Response | None:
            answer = self._send(method, path, body)
            return None if answer.status_code == httpx.codes.CONFLICT else answer

        answer = self._poll(answer_unless_rebalancing)
        if answer is None:
            raise ServiceNotReady(f"The Connect worker is still rebalancing: {path}.", next_command="tickhouse status")
        return self._content(answer, path)

    def _poll(self, probe: Callable[[], T]) -> T:
        return poll_until(probe, REBALANCE_S, every_s=POLL_EVERY_S, clock=self._clock, sleep=self._sleep)

    def _send(self, method: str, path: str, body: dict[str, str] | None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServiceNotReady(
                f"The Connect worker at {self._url} does not answer: {error!r}.",
                safe="Stores and offsets are untouched.",
                next_command="tickhouse up --profile sinks",
            ) from error

    def _content(self, answer: httpx.Response, path: str) -> Any:
        if answer.is_server_error:
            raise ServiceNotReady(f"The Connect worker answered {answer.status_code} to {path}: {answer.text[:500]}")
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise ConfigurationError(
                f"The Connect worker at {self._url} does not accept our login.",
                safe="Nothing was changed.",
                next_command="CONNECT_URL=http://user:password@host:port tickhouse connectors ls",
            )
        if answer.is_error:
            raise ConfigurationError(
                f"The Connect worker refuses {path}: {_message(answer)}", next_command="tickhouse connectors plan"
            )
        return answer.json() if answer.content else None


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError):
        return answer.text[:500]


def _without_name(config: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in config.items() if key != "name"}
