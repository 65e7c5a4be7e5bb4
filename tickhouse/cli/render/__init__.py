"""Print results for people."""
