"""Clients of Kafka, the lake, Airflow, Connect, and the stores behind Connect."""
