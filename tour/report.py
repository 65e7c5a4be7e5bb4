"""Execute the notebook of measures for the demo's `main`, and print the address of its page.

It is a process of its own, because the task imports Airflow, which makes a folder when it is
imported.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Execute the notebook and print the address."""
    from common.settings import load_settings
    from tickhouse.dag_tasks.monthly_report import report

    sys.stdout.write(report(load_settings(), "main", "", "measures").url)


if __name__ == "__main__":
    main()
