"""Airflow: its metadata database, and when all four processes are well."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

import psycopg

from stack.engine.context import ServiceContext
from stack.engine.supervise import tail
from tickhouse.errors import ServiceNotReady

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")

PROBE_S = 5.0

# One batch at a time: a second driver would want another gigabyte, and the two would work on the same days.
POOLS = {"spark_batch": (1, "Spark batch drivers")}

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def migrate(context: ServiceContext) -> None:
    """Run `airflow db migrate` once for an Airflow version and a data folder.

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
        done = subprocess.run(command, env=context.env(), stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise ServiceNotReady(f"airflow db migrate failed:\n{tail(log)}", next_command="tickhouse logs postgres")
    make_pools(context)
    mark.touch()


def make_pools(context: ServiceContext) -> None:
    """Make the pools that the DAGs name; a task of a pool that does not exist is never scheduled.

    Straight into the table: Airflow's own command takes eight seconds of a first start, and its API is not up yet.

    Raises:
        ServiceNotReady: The metadata database does not take them.
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
        raise ServiceNotReady(f"Airflow's pools: {error}", next_command="tickhouse logs postgres") from error


def answers(context: ServiceContext) -> bool:
    """Return whether the API answers and says that every process has a fresh heartbeat."""
    url = f"{context.settings.airflow_url}/api/v2/monitor/health"
    try:
        with _opener.open(url, timeout=PROBE_S) as answer:
            health = json.load(answer)
    except (OSError, ValueError, urllib.error.HTTPError):
        return False
    return all(health.get(part, {}).get("status") == "healthy" for part in PARTS)
