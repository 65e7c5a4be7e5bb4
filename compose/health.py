"""Health check inside a container: `health.py URL`, or `health.py PART` for a process of Airflow.

A part is one of metadatabase, scheduler, dag_processor and triggerer; Airflow's API reports whether
its heartbeat is recent. Standard library only, because it runs every few seconds.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

PROBE_TIMEOUT_S = 5.0
HEALTH = "/api/v2/monitor/health"
AIRFLOW_URL = "http://airflow-api-server:21060"


def is_healthy(subject: str, airflow_url: str) -> bool:
    """Return whether the URL responds, or whether Airflow reports the part as healthy."""
    is_url = "://" in subject
    try:
        with urllib.request.urlopen(subject if is_url else airflow_url + HEALTH, timeout=PROBE_TIMEOUT_S) as response:  # noqa: S310
            return is_url or json.load(response).get(subject, {}).get("status") == "healthy"
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(sys.argv[1], os.environ.get("AIRFLOW_URL", AIRFLOW_URL)) else 1)
