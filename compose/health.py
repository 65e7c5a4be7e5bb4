"""Health check inside a container: `health.py URL`, or `health.py PART` for a process of Airflow.

Standard library only: it runs every few seconds. A part is one of metadatabase, scheduler, dag_processor, triggerer;
Airflow's API says whether its heartbeat is fresh.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

ANSWER_S = 5.0
HEALTH = "/api/v2/monitor/health"
AIRFLOW_URL = "http://airflow-api-server:21060"


def is_well(subject: str, airflow_url: str) -> bool:
    """Return whether the URL answers, or whether Airflow says that the part is healthy."""
    is_url = "://" in subject
    try:
        with urllib.request.urlopen(subject if is_url else airflow_url + HEALTH, timeout=ANSWER_S) as answer:  # noqa: S310
            return is_url or json.load(answer).get(subject, {}).get("status") == "healthy"
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_well(sys.argv[1], os.environ.get("AIRFLOW_URL", AIRFLOW_URL)) else 1)
