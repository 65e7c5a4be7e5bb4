"""The data sets that DAGs write and read. Airflow's asset graph shows which DAG does what.

A task names the alias of a data set as its outlet, not the data set. So its run makes an event only
when the task says that the data changed (`run_report.RunReport.changed`): a run that changed
nothing wakes no DAG. Each event carries the commit and, where there are any, the days.
"""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

INGEST = Asset(name="lake_ingest", uri="lakefs://lake/ingest", group="lake")
MAIN = Asset(name="lake_main", uri="lakefs://lake/main", group="lake")
DAILY_TABLES = Asset(name="daily_tables", uri="tickhouse://postgres/gold", group="serving")
GRAPH = Asset(name="graph", uri="tickhouse://neo4j/graph", group="serving")
MONTHLY_REPORT = Asset(name="monthly_report", uri="tickhouse://data_docs/reports", group="serving")


def changes_of(asset: Asset) -> AssetAlias:
    """Return the alias that a task which may change an asset has as its outlet."""
    return AssetAlias(name=f"{asset.name}_changes", group=asset.group)
