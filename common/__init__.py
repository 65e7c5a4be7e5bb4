"""Code that every other package may import. It imports none of them.

- `errors`: the tree of all errors that Tickhouse raises on purpose;
- `settings`: addresses, secrets and paths;
- `topics`, `symbols`, `market_kind`: Kafka topics, symbols, real or synthetic market;
- `intervals`, `days`: sets of ids, and ranges of days;
- `polling`: wait for something outside the process;
- `clients`: clients of Kafka, the lake, Airflow, Connect and the stores.
"""
