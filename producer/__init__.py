"""Take events from the exchange, or from recorded files, into Kafka.

Each event is sent once, and every missing id is recorded as a gap.

The modules of this folder are the operations that a person starts: `live` (WebSocket and REST),
`replay` (one file), `backfill` (a range of ids from REST) and `declare_lost` (close a gap whose ids
the exchange lost). The folders are the parts that they use; each imports only from those above it:

    events.py    trades, ticks and their event ids
    parsing/     bytes of frames, REST objects and files -> events
    encoding/    events -> Avro
    ledger/      which ids were delivered and which are missing (decisions, no I/O)
    writer/      events -> Kafka: duplicates dropped, dead letters sent, the ledger stored
    exchange/    the protocol of Binance: WebSocket connections, REST, rate limits
    recovery/    what a live stream lost, fetched from REST
"""
