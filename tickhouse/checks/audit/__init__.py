"""Audits: laws in SQL over the lake's Parquet files, checked with Great Expectations."""
