"""Hooks of Airflow: the metadata database, the pools, and the readiness of all four processes."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

import psycopg

from common.errors import ServiceNotReady
from stack.engine.context import ServiceContext
from stack.engine.supervisor import tail

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")

PROBE_S = 5.0

# One batch job at a time: a second driver would need another gigabyte, and both would work on the
# same days.
POOLS = {"spark_batch": (1, "Spark batch drivers")}

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def migrate(context: ServiceContext) -> None:
    """Run `airflow db migrate` once per Airflow version and data folder.

    Raises:
        ServiceNotReady: It failed; the message holds the end of its output.
    """
    mark = context.data / f"migrated-{version('apache-airflow')}-{'-'.join(POOLS)}"
    if mark.exists():
        return
    (context.home / "airflow").mkdir(mode=0o700, exist_ok=True)
    log = context.data / "migrate.log"
    with log.open("wb") as output:
        command = [str(Path(sys.prefix) / "bin" / "airflow"), "db", "migrate"]
        # It holds its lock in an idle transaction, which the role's limit would end
        # (stack/postgres/setup.py).
        env = context.env({"PGOPTIONS": "-c idle_in_transaction_session_timeout=0"})
        done = subprocess.run(command, env=env, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise ServiceNotReady(f"airflow db migrate failed:\n{tail(log)}", next_command="tickhouse logs postgres")
    make_pools(context)
    mark.touch()


def make_pools(context: ServiceContext) -> None:
    """Create the pools that the DAGs name; a task of a missing pool is never scheduled.

    They are written directly into the table, because Airflow's command would add eight seconds to
    the first start, and its API does not run yet.

    Raises:
        ServiceNotReady: The metadata database does not accept them.
    """
    address = context.env()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("postgresql+psycopg2", "postgresql")
    statement = (
        "INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES (%s, %s, %s, false) "
        "ON CONFLICT (pool) DO NOTHING"
    )
    try:
        with psycopg.connect(address, connect_timeout=10) as connection:
            for name, (slots, description) in POOLS.items():
                connection.execute(statement, [name, slots, description])
    except psycopg.Error as error:
        raise ServiceNotReady(
            f"Airflow's pools were not created: {error}", next_command="tickhouse logs postgres"
        ) from error


def is_ready(context: ServiceContext) -> bool:
    """Return whether the API responds and reports a recent heartbeat of every process."""
    url = f"{context.settings.airflow_url}/api/v2/monitor/health"
    try:
        with _opener.open(url, timeout=PROBE_S) as response:
            health = json.load(response)
    except (OSError, ValueError, urllib.error.HTTPError):
        return False
    return all(health.get(part, {}).get("status") == "healthy" for part in PARTS)
