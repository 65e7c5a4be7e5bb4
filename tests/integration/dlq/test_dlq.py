"""Dead letters on a real broker, registry and database: list, explain, and send again.

A record is sent again at most three times, and a killed run does not count as a try.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from typer.testing import CliRunner

from common.clients.kafka import TopicLog, TopicRecord
from common.errors import StoreUnavailable
from common.settings import Settings
from producer.writer.outbox import Outbox
from schemas.registry import schema_id
from tests.conftest import Stack
from tickhouse.cli import app
from tickhouse.dlq.letters import CONNECT, Letter, Place
from tickhouse.dlq.reader import letters
from tickhouse.dlq.redrive import Redrive, connected

pytestmark = pytest.mark.integration

FRAME = (
    '{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1723161240123,"s":"BTCUSDT","a":%d,"p":"61685.99",'
    '"q":"0.5","f":7,"l":9,"T":1723161240100,"m":true,"M":true}}'
)
KEY = b"BINANCE:SPOT:BTCUSDT"


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    found = stack.up("kafka", "registry", "postgres")
    for topic in ("crypto.trades", "crypto.ticks"):
        schema_id(found.schema_registry_url, f"{topic}-value")
    return found


@pytest.fixture
def outbox(settings: Settings) -> Outbox:
    return Outbox.connect(settings.kafka_bootstrap_servers)


def producer_letter(outbox: Outbox, raw: bytes, **changes: str) -> None:
    headers = {"reason": "missing_field", "detail": "d", "source": "WEBSOCKET", "market": "spot", "writer": "live",
               "stream_name": "btcusdt@aggTrade", "position": "ws", "received_at_us": "1723161240200000"}  # fmt: skip
    outbox.send_dead_letter(raw, headers | changes)
    outbox.flush()


def copy_to_letters(outbox: Outbox, settings: Settings, value: bytes) -> Place:
    """Write a record and the letter that Spark would write for it; return the record's place."""
    before = records(settings, "crypto.trades")
    outbox.send("crypto.trades", value, KEY)
    outbox.flush()
    new = next(one for one in records(settings, "crypto.trades") if one.place not in {old.place for old in before})
    headers = {"topic": new.topic, "partition": str(new.partition), "offset": str(new.offset)}
    texts = [*headers.items(), ("reason", "unknown_schema_id"), ("detail", "value bytes")]
    outbox.send("dlq.spark", value, "-".join(headers.values()).encode(), list(texts))
    outbox.flush()
    return Place(*new.place)


def records(settings: Settings, topic: str) -> list[TopicRecord]:
    kafka = TopicLog(settings.kafka_bootstrap_servers)
    try:
        return list(kafka.records(topic))
    finally:
        kafka.close()


def call(*arguments: str, expect: int = 0) -> list[dict]:
    result = CliRunner().invoke(app, ["dlq", *arguments, "--json"])
    assert result.exit_code == expect, result.output
    return json.loads(result.stdout)


def newest(topic: str) -> str:
    return call("show", topic, "--limit", "1")[0]["place"]


@pytest.fixture
def drive(settings: Settings) -> Iterator[Redrive]:
    with connected(settings, role="operator", is_dry=False) as redrive:
        yield redrive


def test_a_frame_of_the_producer_is_parsed_again(settings: Settings, outbox: Outbox) -> None:
    producer_letter(outbox, (FRAME % 41).encode())
    place = newest("dlq.producer")

    explained = call("explain", place)
    assert explained["event_id"] == "binance:spot:BTCUSDT:aggTrade:41"
    assert explained["record"]["price"] == 6168599000000
    assert call("redrive", place, "--dry-run")[0]["result"] == "would_send"
    assert "binance:spot:BTCUSDT:aggTrade:41" not in str(records(settings, "crypto.trades"))

    (sent,) = call("redrive", place)
    assert (sent["result"], sent["try"], sent["event_id"]) == ("sent", 1, "binance:spot:BTCUSDT:aggTrade:41")
    (written,) = [one for one in records(settings, "crypto.trades") if one.headers.get("redrive.of") == place]
    assert (written.key, written.headers["redrive.try"]) == (KEY, "1")
    assert b"binance:spot:BTCUSDT:aggTrade:41" in (written.value or b"")
    assert call("redrive", place)[0]["result"] == "skipped"
    group = next(one for one in call("ls")["groups"] if one["topic"] == "dlq.producer")
    assert (group["letters"], group["redriven"]) == (1, 1)
    assert call("explain", place)["tries"][0]["state"] == "sent"


@pytest.mark.parametrize(
    ("raw", "changes", "why"),
    [
        (b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade"', {}, "truncated"),
        (b"\xff", {}, "not_utf8"),
        (b'{"result":null,"id":1}', {}, "not_an_event"),
        (b"1,2,3", {"source": "ARCHIVE", "position": "f.csv:7"}, "replay its file"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_a_letter_that_still_cannot_be_sent_is_refused(outbox: Outbox, raw: bytes, changes: dict, why: str) -> None:
    producer_letter(outbox, raw, **changes)

    result = CliRunner().invoke(app, ["dlq", "redrive", newest("dlq.producer"), "--json"])
    assert result.exit_code == 5
    assert json.loads(result.stdout)[0]["result"] == "refused"
    assert why in json.loads(result.stdout)[0]["why"]


def test_a_letter_whose_id_is_delivered_is_resolved_and_not_sent(settings: Settings, outbox: Outbox) -> None:
    raw, key = (FRAME % 77).encode(), "binance:spot:RESOLVEDUSDT:aggTrade:77"
    headers = {"reason": "bad_number", "detail": "d", "source": "ARCHIVE", "market": "spot", "writer": "file:bad",
               "stream_name": "", "position": "bad.csv:1", "received_at_us": "1"}  # fmt: skip
    outbox.send_dead_letter(raw, headers, key)
    outbox.flush()
    place = newest("dlq.producer")
    assert call("explain", place)["resolved"] is False
    head = {"market": "spot", "symbol": "RESOLVEDUSDT", "stream": "aggTrade", "writer": "file:good", "seen": [[70, 80]],
            "rejected": [], "offsets": {}, "closed": True, "counts": {}}  # fmt: skip
    outbox.send("crypto.ledger", json.dumps(head).encode(), b"spot/RESOLVEDUSDT/aggTrade/file:good")
    outbox.flush()

    assert call("explain", place)["resolved"] is True
    (group,) = [one for one in call("ls")["groups"] if one["reason"] == "bad_number"]
    assert (group["letters"], group["resolved"]) == (1, 1)
    assert call("redrive", place)[0]["result"] == "skipped"


def test_a_record_of_spark_goes_back_under_its_key_three_times_at_most(settings: Settings, outbox: Outbox) -> None:
    value = b"\x00\x00\x00\x27\x0funknown"
    for number in (1, 2, 3):
        source = copy_to_letters(outbox, settings, value)
        (sent,) = call("redrive", newest("dlq.spark"))
        assert (sent["result"], sent["try"], sent["topic"]) == ("sent", number, "crypto.trades")
        copies = [one for one in records(settings, "crypto.trades") if one.value == value]
        assert {one.key for one in copies} == {KEY}
        assert len(copies) == 2 * number
        assert source in [Place(*one.place) for one in copies]

    copy_to_letters(outbox, settings, value)
    place = newest("dlq.spark")
    assert "3 tries" in call("redrive", place, expect=5)[0]["why"]
    assert [one["try"] for one in call("explain", place)["tries"]] == [1, 2, 3]
    assert len([one for one in records(settings, "crypto.trades") if one.value == value]) == 7


def test_a_record_of_a_sink_keeps_its_key_when_its_topic_lost_it(outbox: Outbox, settings: Settings) -> None:
    headers = {"topic": "crypto.ticks", "partition": "0", "offset": "999999", "stage": "TASK_PUT",
               "exception.class.name": "x.ConnectException", "exception.message": "refused"}  # fmt: skip
    outbox.send("dlq.spark", b"value", b"BINANCE:SPOT:X", [(CONNECT + name, text) for name, text in headers.items()])
    outbox.flush()

    place = newest("dlq.spark")
    assert call("show", "dlq.spark", "--reason", "task_put:ConnectException")[0]["place"] == place
    assert call("redrive", place)[0]["topic"] == "crypto.ticks"
    (written,) = [one for one in records(settings, "crypto.ticks") if one.headers.get("redrive.of") == place]
    assert (written.key, written.value) == (b"BINANCE:SPOT:X", b"value")


class FailingOutbox(Outbox):
    """Sends the records, and fails before it can mark them as sent."""

    def flush(self, timeout_s: float = 0.0) -> None:
        super().flush(30)
        raise StoreUnavailable("killed here")


def test_a_kill_between_sending_and_marking_costs_no_try(settings: Settings, outbox: Outbox, drive: Redrive) -> None:
    producer_letter(outbox, (FRAME % 52).encode())
    letter = letter_of(drive, newest("dlq.producer"))
    failing = replace(drive, outbox=FailingOutbox.connect(settings.kafka_bootstrap_servers))
    with pytest.raises(StoreUnavailable, match="killed here"):
        list(failing.run([letter]))

    (outcome,) = drive.run([letter])
    assert (outcome.result, outcome.tries) == ("sent", 1)
    with psycopg.connect(settings.database_dsn("reader")) as connection:
        rows = connection.execute(
            "SELECT try, state, by_user <> '' FROM audit.redrives WHERE event_id LIKE '%:52'"
        ).fetchall()
    assert rows == [(1, "sent", True)]
    copies = [one for one in records(settings, "crypto.trades") if b":aggTrade:52" in (one.value or b"")]
    assert len({one.value for one in copies}) == 1


def letter_of(drive: Redrive, place: str) -> Letter:
    return next(one for one in letters(drive.kafka, Place.parse(place).topic) if str(one.place) == place)


@pytest.mark.usefixtures("settings")
def test_an_error_about_an_unknown_letter_lists_the_topics() -> None:
    for arguments in (["show", "dlq.nope"], ["explain", "dlq.spark:0:999999"], ["redrive", "crypto.trades"]):
        result = CliRunner().invoke(app, ["dlq", *arguments])
        assert result.exit_code == 2
        assert "dlq.producer" in result.output


@pytest.mark.usefixtures("settings")
def test_tables_for_people() -> None:
    for arguments, text in (
        (["ls"], "reason"),
        (["show", "dlq.producer"], "letter"),
        (["redrive", "dlq.spark"], "skipped"),
    ):
        result = CliRunner().invoke(app, ["dlq", *arguments])
        assert text in result.output


def test_the_operator_role_may_only_write_redrives(settings: Settings) -> None:
    with psycopg.connect(settings.database_dsn("operator"), autocommit=True) as connection:
        for statement in ("DELETE FROM audit.redrives", "SELECT 1 FROM market.candles_1m"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
