"""Which ids were delivered and which are missing.

Decisions only: nothing here reads or writes Kafka.

- `stream_ledger`: the ids of one stream that are in Kafka;
- `gaps`: the ranges of ids that are missing, and their states;
- `snapshots`: how a ledger is written to `crypto.ledger`;
- `recent_payloads`, `delivered_values`: earlier values of an id, which show whether a repeat is a
  conflict.
"""
