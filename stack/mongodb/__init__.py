"""How the MongoDB-compatible server is fetched, configured, started, probed and stopped."""
