"""The protocol of Binance. Nothing here depends on Kafka or the ledger.

- `connection`: one WebSocket connection;
- `subscriptions`: all streams, spread over connections that are replaced when they end;
- `routes`: the WebSocket address of each stream;
- `frame_queue`: frames that were received and not yet encoded;
- `rest`: the REST client, its retries and its request weight;
- `rest_responses`: what a REST response means;
- `contract_sizes`: compare the COIN-M contract sizes of the exchange with ours.
"""
