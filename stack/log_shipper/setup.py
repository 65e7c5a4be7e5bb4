"""Hooks of the log shipper: its folders, readiness."""

from __future__ import annotations

import os

from stack.engine.context import ServiceContext

# Folder below the home with the messages that Elasticsearch refused.
REFUSED = "refused_logs"
RSYSLOG_PID = "rsyslogd.pid"


def prepare(context: ServiceContext) -> None:
    """Make the working folder and the folder of task logs, which rsyslog watches from its start."""
    (context.data / "work").mkdir(exist_ok=True)
    (context.home / REFUSED).mkdir(mode=0o700, exist_ok=True)
    (context.home / "airflow" / "logs").mkdir(parents=True, exist_ok=True)
    (context.data / RSYSLOG_PID).unlink(missing_ok=True)


def is_ready(context: ServiceContext) -> bool:
    """Return whether rsyslog runs: it writes its process id once its configuration is loaded."""
    path = context.data / RSYSLOG_PID
    try:
        pid = int(path.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    return True
