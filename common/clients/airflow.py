"""The calls of Airflow's REST API that commands and DAGs need."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from common.errors import ConfigurationError, DagPaused, ServiceNotReady, StoreUnavailable
from common.polling import poll_while_moving
from common.settings import Settings

FINAL = ("success", "failed")


class AirflowApi:
    """A session with Airflow, logged in as its admin.

    Raises:
        StoreUnavailable: Airflow does not answer, or refuses the login (also raised by every
            method).
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
        """Return the runs of a DAG, newest first; empty while Airflow does not know the DAG yet."""
        path = f"/api/v2/dags/{dag_id}/dagRuns?order_by=-run_after&limit=20"
        answer = self._call("GET", path, missing={"dag_runs": []})
        return list(answer["dag_runs"])

    def newest_runs(self) -> list[dict[str, Any]]:
        """Return the newest runs of all DAGs, newest first."""
        return list(self._call("GET", "/api/v2/dags/~/dagRuns?order_by=-run_after&limit=100")["dag_runs"])

    def heartbeats(self) -> dict[str, str]:
        """Return when each of Airflow's processes last gave a sign of life, in ISO 8601."""
        components = self._call("GET", "/api/v2/monitor/health")
        found = {name: one.get(f"latest_{name}_heartbeat") for name, one in components.items()}
        return {name: str(at) for name, at in found.items() if at}

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run and return its id.

        Args:
            dag_id: The DAG.
            conf: Its parameters.
            run_id: Id of the run; a run that exists already is not started again.
        """
        body = {"logical_date": None, "conf": conf or {}} | ({"dag_run_id": run_id} if run_id else {})
        answer = self._call(
            "POST", f"/api/v2/dags/{dag_id}/dagRuns", body, conflict={"dag_run_id": run_id} if run_id else None
        )
        return str(answer["dag_run_id"])

    def paused(self) -> dict[str, bool]:
        """Return whether each DAG is paused, by id."""
        answer = self._call("GET", "/api/v2/dags?limit=100")
        return {dag["dag_id"]: bool(dag["is_paused"]) for dag in answer["dags"]}

    def pause(self, dag_id: str, *, is_paused: bool) -> None:
        """Pause or unpause a DAG; while it is paused, none of its runs starts.

        Raises:
            ConfigurationError: Airflow knows no such DAG.
        """
        if self._call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": is_paused}, missing={}) == {}:
            raise ConfigurationError(f"Airflow knows no DAG {dag_id!r}.", next_command="tickhouse dags ls")

    def require_unpaused(self, *dag_ids: str) -> None:
        """Require that none of these DAGs is paused.

        Raises:
            DagPaused: A DAG is paused, so its run would wait for ever.
        """
        paused = self.paused()
        names = [name for name in dag_ids if paused.get(name)]
        if names:
            raise DagPaused(
                f"Paused in Airflow: {', '.join(names)}. A run would wait for ever.",
                safe="Nothing was started.",
                next_command=f"tickhouse dags unpause {' '.join(names)}",
            )

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a run, None when the run does not exist."""
        answer = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}", missing={"state": None})
        return None if answer["state"] is None else str(answer["state"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task of a run."""
        answer = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances")
        return {task["task_id"]: task["state"] for task in answer["task_instances"]}

    def note(self, dag_id: str, run_id: str, text: str) -> None:
        """Set the note of a run, which the Airflow UI shows."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}", {"note": text})

    def wait(self, dag_id: str, run_id: str, stalled_s: float) -> str:
        """Wait until a run ends, and return its final state; failed calls are repeated.

        Args:
            dag_id: The DAG.
            run_id: The run.
            stalled_s: Give up when no task has changed its state for this many seconds.

        Raises:
            ServiceNotReady: No task of the run changed its state for `stalled_s`.
        """

        def probe() -> tuple[str | None, object]:
            state = self.run_state(dag_id, run_id)
            if state in FINAL:
                return state, None
            return None, (state, self.task_states(dag_id, run_id))

        stalled = ServiceNotReady(
            f"Run {run_id} of DAG {dag_id} did not end: no task changed its state for {stalled_s:.0f} s.",
            safe="The run continues in Airflow.",
            next_command="tickhouse logs airflow",
        )
        state = poll_while_moving(probe, stalled_s, on_stall=lambda _: stalled, every_s=1.0)
        return str(state)

    def _call(self, method: str, path: str, body: Any = None, *, missing: Any = None, conflict: Any = None) -> Any:
        try:
            answer = self._client.request(method, path, json=body)
            if answer.status_code == httpx.codes.NOT_FOUND and missing is not None:
                return missing
            if answer.status_code == httpx.codes.CONFLICT and conflict is not None:
                return conflict
            answer.raise_for_status()
        except httpx.HTTPError as error:
            body_text = f" {error.response.text[:500]}" if isinstance(error, httpx.HTTPStatusError) else ""
            raise StoreUnavailable(
                f"Airflow at {self._client.base_url} did not answer {method} {path}: {error}.{body_text}",
                safe="Nothing was started.",
                next_command="tickhouse status",
            ) from error
        return answer.json()
