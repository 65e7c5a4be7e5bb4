from __future__ import annotations

import json
from pathlib import Path

import fastavro
import pytest

from common.errors import ConfigurationError
from schemas import canonical_text, load, schema_names, subjects, topics, without_logical_types

SNAPSHOT = Path(__file__).parent / "snapshots" / "fingerprints.json"


def fingerprints() -> dict[str, str]:
    return {name: fastavro.schema.fingerprint(canonical_text(name), "SHA-256") for name in schema_names()}


def test_fingerprints_equal_the_snapshot():
    """A changed schema gets a new registry id: update the snapshot only with a new version."""
    assert fingerprints() == json.loads(SNAPSHOT.read_text())


@pytest.mark.parametrize("name", schema_names())
def test_canonical_text_is_the_document_without_white_space(name):
    text = canonical_text(name)
    assert json.loads(text) == load(name)
    assert "\n" not in text
    assert '": ' not in text


@pytest.mark.parametrize("name", schema_names())
def test_without_logical_types_leaves_names_and_order(name):
    bare = without_logical_types(name)
    assert "logicalType" not in json.dumps(bare)
    assert [field["name"] for field in bare["fields"]] == [field["name"] for field in load(name)["fields"]]
    fastavro.parse_schema(bare)


def test_unknown_schema_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match="candle"):
        load("order")


def test_subjects_are_the_topics_with_a_schema():
    assert subjects() == {
        "crypto.trades-value": "trade",
        "crypto.ticks-value": "tick",
        "crypto.trades.enriched-value": "enriched_trade",
        "crypto.candles-value": "candle",
    }
    assert topics()["crypto.ledger"].config["cleanup.policy"] == "compact"
