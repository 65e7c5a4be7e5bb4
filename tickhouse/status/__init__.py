"""What the services and the pipeline do right now, and what keeps them from starting."""
