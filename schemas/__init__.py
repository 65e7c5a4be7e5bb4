"""Avro schemas, topics and the compatibility policy."""
