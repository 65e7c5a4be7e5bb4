"""The local exchange: a look-alike of Binance's WebSocket and REST interfaces.

It plays a synthetic market, generated from a seed, or a recorded capture.
"""
