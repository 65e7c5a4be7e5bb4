"""How Kafka Connect is fetched, configured, started, probed and stopped."""
