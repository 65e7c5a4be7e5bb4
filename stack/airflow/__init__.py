"""How Airflow is fetched, configured, started, probed and stopped."""
