"""Audits: laws in SQL over the lake's Parquet, judged by Great Expectations. Imports nothing of the pipeline."""
