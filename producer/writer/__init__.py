"""A writer puts events into Kafka and remembers in Kafka which ids it has written.

- `intake`: parse a frame, look up in the ledger whether its id is new, encode it, send it;
- `outbox`: the Kafka client: queue, flush, failures, dead letters;
- `ledger_store`: load the ledgers and gaps from Kafka, and save them after a flush;
- `open_writer`: connect all of these for one market.
"""
