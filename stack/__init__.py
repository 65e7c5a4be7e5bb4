"""How each service is fetched, configured, started, probed and stopped; one folder per service."""
