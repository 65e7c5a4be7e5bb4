"""How Kafka is fetched, configured, started, probed and stopped."""
