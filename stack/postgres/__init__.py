"""How PostgreSQL is fetched, configured, started, probed and stopped."""
