"""Independent checks: reconcile, audit and explain."""
