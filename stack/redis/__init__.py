"""How Redis is fetched, configured, started, probed and stopped."""
