"""The nightly batch: bronze to silver (each event once) to gold (candles and other aggregates)."""
