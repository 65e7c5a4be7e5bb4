"""Tickhouse: a crypto market-data lakehouse, exactly once by event id."""
