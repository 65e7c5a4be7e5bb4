"""Checkpoints of the streaming queries: the driver's lease, repairs, and where a query starts."""
