"""Published migrations never change: a home refuses one that differs from the one it applied."""

from __future__ import annotations

import hashlib

from stack.postgres.setup import MIGRATIONS

# File to the start of its SHA-256. A new migration is a new line; a changed one breaks every home.
PUBLISHED = {
    "001_market.sql": "3c7e6aacb63899e8",
    "002_gold.sql": "6f7e7e666cd59d7d",
    "003_redrives.sql": "b153b0dfa631760a",
    "004_trade_id_blocks.sql": "58d04c9cbf83c8a2",
    "005_contracts.sql": "cd45ca9a6ed8bd01",
    "006_retention.sql": "d01ca91ae7524807",
    "007_alerts.sql": "66e44465290f274b",
    "008_api.sql": "fd8658f857f4ad16",
    "009_comments.sql": "9f81ba63eb33a676",
}


def test_published_migrations_are_unchanged() -> None:
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in MIGRATIONS.glob("*.sql")}

    assert digests == PUBLISHED
