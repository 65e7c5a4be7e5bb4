"""The local Binance look-alike: a seeded market, or a recorded capture, behind Binance's WebSocket and REST surface."""
