"""Airflow: its metadata database, and when all four processes are well."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

from stack.engine.context import ServiceContext
from stack.engine.supervise import tail
from tickhouse.errors import ServiceNotReady

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")

PROBE_S = 5.0

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def migrate(context: ServiceContext) -> None:
    """Run `airflow db migrate` once for an Airflow version and a data folder.

    Raises:
        ServiceNotReady: It failed; the message holds the end of its output.
    """
    mark = context.data / f"migrated-{version('apache-airflow')}"
    if mark.exists():
        return
    (context.home / "airflow").mkdir(mode=0o700, exist_ok=True)
    log = context.data / "migrate.log"
    with log.open("wb") as output:
        command = [str(Path(sys.prefix) / "bin" / "airflow"), "db", "migrate"]
        done = subprocess.run(command, env=context.env(), stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise ServiceNotReady(f"airflow db migrate failed:\n{tail(log)}", next_command="tickhouse logs postgres")
    mark.touch()


def answers(context: ServiceContext) -> bool:
    """Return whether the API answers and says that every process has a fresh heartbeat."""
    url = f"{context.settings.airflow_url}/api/v2/monitor/health"
    try:
        with _opener.open(url, timeout=PROBE_S) as answer:
            health = json.load(answer)
    except (OSError, ValueError, urllib.error.HTTPError):
        return False
    return all(health.get(part, {}).get("status") == "healthy" for part in PARTS)
