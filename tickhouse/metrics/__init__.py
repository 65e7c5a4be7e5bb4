"""Metrics of the stores for Prometheus: what `tickhouse status` reads, read again and again.

`figures` names the metrics, `sources` reads the stores, `readers` decides how often, and `targets`
tells Prometheus which processes to scrape.
"""
