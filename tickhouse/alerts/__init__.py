"""Alerts: rules over candles, gaps, stores and runs, and the watcher that judges them."""
