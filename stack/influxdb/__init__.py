"""InfluxDB: the series of trades in their full resolution, and their roll-ups."""
