"""Remove data that is older than `stack/retention.yaml` and `schemas/topics.yaml` declare."""
