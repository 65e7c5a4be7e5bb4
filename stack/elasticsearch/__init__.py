"""How Elasticsearch is fetched, configured, started, probed and stopped."""
