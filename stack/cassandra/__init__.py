"""How Cassandra is fetched, configured, started, probed and stopped."""
