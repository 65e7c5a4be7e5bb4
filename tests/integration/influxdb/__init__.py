"""InfluxDB on the real server."""
