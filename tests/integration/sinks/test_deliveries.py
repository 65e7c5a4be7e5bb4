"""Repeats change no store, bad records enter no store, and records of a new schema arrive."""

from __future__ import annotations

import json
import struct
from collections import Counter
from decimal import Decimal
from typing import Any

import fastavro
import httpx
import pytest

from common.clients import mongodb
from tests.eventually import eventually
from tests.integration.reconcile.seed import common, epoch
from tests.integration.sinks.conftest import Sinks, wrong
from tests.integration.sinks.row_editors import ROW_EDITORS
from tests.integration.sinks.trades import OFFERED
from tests.unit.tickhouse.checks.reconcile.samples import trade

pytestmark = pytest.mark.integration

TOPIC = "crypto.trades.enriched"
READERS = ("mongodb-trades", "elasticsearch-trades", "cassandra-trades")
HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000


def framed(schema: dict[str, Any], number: int, fields: dict[str, Any]) -> bytes:
    import io

    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), fields)
    return struct.pack(">bI", 0, number) + body.getvalue()


def registered(sinks: Sinks, topic: str) -> tuple[dict[str, Any], int]:
    answer = httpx.get(f"{sinks.settings.schema_registry_url}/subjects/{topic}-value/versions/latest").json()
    return json.loads(answer["schema"]), answer["id"]


def test_a_reset_of_the_offsets_delivers_everything_again_and_changes_nothing(sinks: Sinks) -> None:
    before = sinks.reconcile(wait_s=120)
    for _ in range(2):
        for connector in (*READERS, "mongodb-trades-raw"):
            sinks.run("connectors", "offsets", "reset", connector, "--yes")
        sinks.drained()

    after = sinks.reconcile(wait_s=60)
    assert wrong(before) == wrong(after) == {}
    assert {name: (one["count"], one["hash_all"]) for name, one in after["stores"].items()} == {
        name: (one["count"], one["hash_all"]) for name, one in before["stores"].items()
    }


def test_a_reset_asks_first_and_lists_the_records_that_are_delivered_again(sinks: Sinks) -> None:
    from typer.testing import CliRunner

    from tickhouse.cli import app

    done = CliRunner().invoke(app, ["connectors", "offsets", "reset", "cassandra-trades"], input="n\n")

    assert done.exit_code == 1
    assert f"of {TOPIC}" in done.output
    assert sinks.states()["cassandra-trades"]["lag_records"] == 0


@pytest.fixture(scope="module")
def poison(sinks: Sinks) -> dict[str, bytes]:
    """Send every kind of bad record, and return the values by key."""
    schema, number = registered(sinks, TOPIC)
    good = sinks.seeder.enriched_value(OFFERED[0])
    one = trade(77)
    more = {"base": "BTC", "quote": "USDT", "pair": "BTC-USDT", "is_sentinel": False, "minute": epoch(one.minute_us)}
    over_long = Decimal("1234567890123456789012.1234567890123456")  # 38 digits: Decimal128 ends at 34
    letters = {
        "bad-bytes": b"\x07rubbish",
        "unknown-id": struct.pack(">bI", 0, 999_999) + good[5:],
        "truncated": good[:40],
        "empty": b"",
        "wrong-type": sinks.seeder.trade_value(OFFERED[0]),
        "over-long": framed(
            schema,
            number,
            common(one) | more | {"quote_qty": over_long, "bucket": epoch(one.time_us // HOUR_US * HOUR_US)},
        ),
    }
    for key, value in letters.items():
        sinks.seeder.send(TOPIC, value, key.encode())
    return letters


def test_each_bad_record_has_one_dead_letter_with_its_place_and_cause(sinks: Sinks, poison: dict[str, bytes]) -> None:
    # Only MongoDB refuses the decimal that is too long: Elasticsearch stores text, and Cassandra's
    # decimals have no limit.
    wanted = {name: set(poison) - ({"over-long"} if name != "mongodb-trades" else set()) for name in READERS}
    for connector, keys in wanted.items():

        def is_there(connector: str = connector, keys: set[str] = keys) -> bool:
            return {record.key.decode() for record in sinks.dead_letters(connector)} >= keys

        eventually(is_there, timeout_s=60, every_s=1)
    sinks.drained()

    for connector, keys in wanted.items():
        found = sinks.dead_letters(connector)
        assert Counter(record.key.decode() for record in found) == Counter(keys), connector
        for record in found:
            headers = record.headers
            assert record.value == poison[record.key.decode()] or not record.value
            assert headers["__connect.errors.topic"] == TOPIC
            assert headers["__connect.errors.offset"].isdigit()
            assert headers["__connect.errors.exception.message"]
    assert not sinks.dead_letters("mongodb-trades-raw")


@pytest.mark.usefixtures("poison")
def test_bad_records_replace_no_good_row(sinks: Sinks) -> None:
    document = sinks.reconcile("mongodb", "mongodb-raw", wait_s=30)

    # Kafka holds no trade 77, so it is the only fault of the stores that accepted it.
    assert wrong(document) == {}
    for store in ("elasticsearch", "cassandra"):
        (example,) = sinks.reconcile(store)["stores"][store]["examples"]
        assert example["subject"] == trade(77).event_id, store
        ROW_EDITORS[store](sinks.settings).corrupt(trade(77), "deleted")
    assert wrong(sinks.reconcile()) == {}


def test_a_second_schema_version_arrives_while_the_first_is_still_written(sinks: Sinks) -> None:
    url = f"{sinks.settings.schema_registry_url}/subjects/{TOPIC}-value/versions"
    first, number = registered(sinks, TOPIC)
    venue = {"name": "venue", "type": ["null", "string"], "default": None, "doc": "where it traded"}
    second = {**first, "fields": [*first["fields"], venue]}
    answer = httpx.post(url, json={"schema": json.dumps(second)})
    assert answer.status_code == 200, answer.text

    trades = [trade(900 + number, time_us=OFFERED[0].time_us + 3 * DAY_US + number) for number in range(6)]
    sinks.seeder.kafka("crypto.trades", trades, sinks.seeder.trade_value)
    for at, one in enumerate(trades):
        more = {"base": "BTC", "quote": "USDT", "pair": "BTC-USDT", "is_sentinel": False, "source": "EXCHANGE"}
        times = {"minute": epoch(one.minute_us), "bucket": epoch(one.time_us // HOUR_US * HOUR_US)}
        product = Decimal(one.price * one.qty).scaleb(-16)
        fields = common(one) | more | times | {"quote_qty": product}
        is_new = at % 2 == 1
        value = (
            framed(second, answer.json()["id"], fields | {"venue": "XNAS"}) if is_new else framed(first, number, fields)
        )
        sinks.seeder.send(TOPIC, value, f"BINANCE:SPOT:{one.key.symbol}".encode())

    ids = {one.event_id for one in trades}

    def is_everywhere() -> bool:
        examples = {
            example["subject"]
            for store in sinks.reconcile()["stores"].values()
            for example in store["examples"]
            if example["fault"] == "missing"
        }
        return not examples & ids

    eventually(is_everywhere, timeout_s=60, every_s=1)
    with mongodb.connected(sinks.settings) as database:
        found = {one["_id"]: one.get("venue") for one in database["trades"].find({"_id": {"$in": sorted(ids)}})}
    assert found == {one.event_id: "XNAS" if at % 2 else None for at, one in enumerate(trades)}
    assert [record.key for record in sinks.dead_letters("elasticsearch-trades") if b"BINANCE" in record.key] == []


def test_a_schema_version_that_breaks_readers_is_refused(sinks: Sinks) -> None:
    schema, _ = registered(sinks, TOPIC)
    broken = {**schema, "fields": [*schema["fields"], {"name": "must", "type": "string"}]}

    answer = httpx.post(
        f"{sinks.settings.schema_registry_url}/subjects/{TOPIC}-value/versions", json={"schema": json.dumps(broken)}
    )

    assert answer.status_code == 409
