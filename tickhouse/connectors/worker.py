"""The REST API of a Connect worker (https://kafka.apache.org/documentation/#connect_rest)."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx

from tickhouse.errors import ConfigurationError, ServiceNotReady

ANSWER_S = 30.0

# While connectors move between workers every change is answered with 409; that takes seconds.
REBALANCE_S = 60.0
PAUSE_S = 0.5

STOPPED = "STOPPED"


class Worker:
    """One worker, or any of a group.

    Args:
        url: Its REST address, `settings.connect_url`.
        transport: Replaces the network in tests.
        pause: Waits so many seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=ANSWER_S, transport=transport, trust_env=False)
        self._url = url
        self._pause = pause

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def configs(self) -> dict[str, dict[str, str]]:
        """Return the configuration of every connector by name, without the name in it."""
        found: dict[str, Any] = self._ask("GET", "/connectors?expand=info")
        return {name: _without_name(one["info"]["config"]) for name, one in sorted(found.items())}

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Return what the worker says of every connector and its tasks, by name."""
        found: dict[str, Any] = self._ask("GET", "/connectors?expand=status")
        return {name: one["status"] for name, one in sorted(found.items())}

    def put(self, name: str, config: dict[str, str]) -> None:
        """Make a connector or change its configuration."""
        self._ask("PUT", f"/connectors/{name}/config", config)

    def faults(self, name: str, config: dict[str, str]) -> dict[str, list[str]]:
        """Return what the worker's own validation finds wrong, by key."""
        kind = config.get("connector.class", "")
        answer = self._ask("PUT", f"/connector-plugins/{kind}/config/validate", {"name": name, **config})
        values = [one["value"] for one in answer["configs"]]
        return {value["name"]: value["errors"] for value in values if value["errors"]}

    def restart(self, name: str, *, only_failed: bool) -> None:
        """Restart a connector with its tasks, or only what has failed of it."""
        flag = str(only_failed).lower()
        self._ask("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed={flag}")

    def pause(self, name: str) -> None:
        """Stop reading; tasks keep their partitions."""
        self._ask("PUT", f"/connectors/{name}/pause")

    def resume(self, name: str) -> None:
        """Read on."""
        self._ask("PUT", f"/connectors/{name}/resume")

    def delete(self, name: str) -> None:
        """Remove a connector; what it wrote and its offsets stay."""
        self._ask("DELETE", f"/connectors/{name}")

    def reset_offsets(self, name: str) -> None:
        """Stop a connector, forget how far it has read, and let it begin again.

        Raises:
            ServiceNotReady: Its tasks did not stop in time; it is stopped then, and nothing was forgotten.
        """
        self._ask("PUT", f"/connectors/{name}/stop")
        self._until(lambda: self._is_stopped(name), f"{name} did not stop", f"tickhouse connectors resume {name}")
        self._ask("DELETE", f"/connectors/{name}/offsets")
        self.resume(name)

    def _is_stopped(self, name: str) -> bool:
        status: dict[str, Any] = self._ask("GET", f"/connectors/{name}/status")
        return bool(status["connector"]["state"] == STOPPED and not status["tasks"])

    def _until(self, probe: Callable[[], bool], what: str, next_command: str) -> None:
        for _ in range(int(REBALANCE_S / PAUSE_S)):
            if probe():
                return
            self._pause(PAUSE_S)
        raise ServiceNotReady(f"{what} within {REBALANCE_S:.0f} s.", next_command=next_command)

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        for _ in range(int(REBALANCE_S / PAUSE_S)):
            answer = self._send(method, path, body)
            if answer.status_code != httpx.codes.CONFLICT:
                return self._content(answer, path)
            self._pause(PAUSE_S)
        raise ServiceNotReady(f"The Connect worker is still rebalancing: {path}.", next_command="tickhouse status")

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
