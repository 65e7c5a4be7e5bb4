"""The names of the Kafka topics; their partitions and settings are in `schemas/topics.yaml`."""

from __future__ import annotations

from typing import Final

TRADES: Final = "crypto.trades"
TICKS: Final = "crypto.ticks"
ENRICHED_TRADES: Final = "crypto.trades.enriched"
CANDLES: Final = "crypto.candles"
LEDGER: Final = "crypto.ledger"
GAPS: Final = "crypto.gaps"
ALERTS: Final = "crypto.alerts"
PRODUCER_DEAD_LETTERS: Final = "dlq.producer"
SPARK_DEAD_LETTERS: Final = "dlq.spark"
SERIES_DEAD_LETTERS: Final = "dlq.series"
