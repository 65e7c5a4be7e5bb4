"""The nightly publication, step by step; Airflow's DAG `nightly_batch` orders the steps."""
