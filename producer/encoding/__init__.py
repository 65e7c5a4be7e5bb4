"""Encode events as Kafka values: `events` writes Avro records, `varint` their integers."""
