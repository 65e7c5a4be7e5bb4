"""How the schema registry is fetched, configured, started, probed and stopped."""
