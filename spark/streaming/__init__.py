"""The streaming job: one query per concern, and the sinks that the queries write to."""
