"""The nightly batch: bronze to silver (each event once) to gold (candles, movers, volatility, VWAP, months)."""
