"""The parts that only docker compose needs; everything else is shared with `tickhouse up`."""
