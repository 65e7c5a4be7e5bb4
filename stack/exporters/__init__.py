"""Exporters for Prometheus: the machine, PostgreSQL, Redis."""
