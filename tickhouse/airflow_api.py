"""The few calls of Airflow's REST API that the CLI needs."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from tickhouse.errors import ServiceNotReady, StoreUnavailable
from tickhouse.settings import Settings

FINAL = ("success", "failed")


class AirflowApi:
    """A session with Airflow as its admin.

    Raises:
        StoreUnavailable: Airflow does not answer, or refuses the login (raised by every method).
    """

    def __init__(self, settings: Settings) -> None:
        self._client = httpx.Client(base_url=settings.airflow_url, timeout=15.0, trust_env=False)
        login = {"username": "admin", "password": settings.airflow_admin_password.get_secret_value()}
        token = self._call("POST", "/auth/token", login)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> AirflowApi:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG, newest first; none while Airflow does not know the DAG yet."""
        path = f"/api/v2/dags/{dag_id}/dagRuns?order_by=-run_after&limit=20"
        answer = self._call("GET", path, missing={"dag_runs": []})
        return list(answer["dag_runs"])

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task of a run."""
        answer = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances")
        return {one["task_id"]: one["state"] for one in answer["task_instances"]}

    def note(self, dag_id: str, run_id: str, text: str) -> None:
        """Put a note on a run, which the UI shows with it."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}", {"note": text})

    def wait(self, dag_id: str, run_id: str, timeout_s: float) -> str:
        """Return the final state of a run.

        Raises:
            ServiceNotReady: It has none within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            state = str(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])
            if state in FINAL:
                return state
            time.sleep(1.0)
        raise ServiceNotReady(
            f"Run {run_id} of DAG {dag_id} did not end within {timeout_s:.0f} s.",
            safe="It goes on in Airflow.",
            next_command="tickhouse logs airflow",
        )

    def _call(self, method: str, path: str, body: Any = None, *, missing: Any = None) -> Any:
        try:
            answer = self._client.request(method, path, json=body)
            if answer.status_code == httpx.codes.NOT_FOUND and missing is not None:
                return missing
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise StoreUnavailable(
                f"Airflow at {self._client.base_url} did not answer {method} {path}: {error}.",
                safe="Nothing was started.",
                next_command="tickhouse status",
            ) from error
        return answer.json()
