"""The data sets that DAGs write and read. Airflow's asset graph shows which DAG does what."""

from __future__ import annotations

from airflow.sdk import Asset

INGEST = Asset(name="lake_ingest", uri="lakefs://lake/ingest", group="lake")
MAIN = Asset(name="lake_main", uri="lakefs://lake/main", group="lake")
DAILY_TABLES = Asset(name="daily_tables", uri="tickhouse://postgres/gold", group="serving")
GRAPH = Asset(name="graph", uri="tickhouse://neo4j/graph", group="serving")
MONTHLY_REPORT = Asset(name="monthly_report", uri="tickhouse://data_docs/reports", group="serving")
