"""`tickhouse dags`: list, pause and unpause Airflow's DAGs."""

from __future__ import annotations

from typing import Annotated

import typer

from tickhouse.cli.options import JsonOption

dags = typer.Typer(name="dags", no_args_is_help=True, help="The DAGs of Airflow: list, pause, unpause.")

Names = Annotated[list[str], typer.Argument(help="DAG ids.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(dags)


@dags.command("ls")
def list_all(
    json: JsonOption = False,
) -> None:
    """List every DAG: whether it is paused, and the state of its newest run."""
    from rich.text import Text

    from common.clients.airflow import AirflowApi
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table

    with AirflowApi(load_settings()) as airflow:
        dags_with_runs = [
            (dag_id, is_paused, airflow.runs(dag_id)) for dag_id, is_paused in sorted(airflow.paused().items())
        ]
    rows = [(dag_id, is_paused, runs[0]["state"] if runs else None) for dag_id, is_paused, runs in dags_with_runs]
    if json:
        print_json([{"dag": dag_id, "is_paused": paused, "newest_run": state} for dag_id, paused, state in rows])
        return
    cells = [(dag_id, Text("paused", "red") if is_paused else "", state or "-") for dag_id, is_paused, state in rows]
    show_table(("DAG", "paused", "newest run"), cells)


@dags.command()
def pause(names: Names) -> None:
    """Pause DAGs: no new run starts, and running tasks finish."""
    _set(names, is_paused=True)


@dags.command()
def unpause(names: Names) -> None:
    """Unpause DAGs: scheduled and waiting runs start again."""
    _set(names, is_paused=False)


def _set(names: list[str], *, is_paused: bool) -> None:
    from common.clients.airflow import AirflowApi
    from common.settings import load_settings

    with AirflowApi(load_settings()) as airflow:
        for name in names:
            airflow.pause(name, is_paused=is_paused)
