"""The size of Kafka messages: the longest frame fits, and the dead letter of a longer one too."""

from __future__ import annotations

import hashlib

import confluent_kafka
import pytest

from common.errors import RejectedRecord, StoreUnavailable
from common.topics import PRODUCER_DEAD_LETTERS
from producer.encoding.events import Encoder
from producer.events import MAX_ID, event_prefix, record_key
from producer.parsing.frames import parse_frame
from producer.writer.outbox import MAX_RAW_BYTES, Outbox
from tests.unit.producer.fakes import ORIGIN, FakeOutbox, intake_on, lines

# librdkafka's message.max.bytes, which counts key, value, headers and its own overhead; the
# broker's is 1,048,588.
MESSAGE_MAX_BYTES = 1_000_000


def frame(length, *, symbol="BTCUSDT", number=7, stream="x@aggTrade"):
    """Return a valid frame of this many bytes; unknown fields are allowed."""
    head = f'{{"stream":"{stream}","data":{{"e":"aggTrade","E":1723161255343,"s":"{symbol}","a":{number},"p":"1.5",'
    rest = f'"q":"2","f":7,"l":{MAX_ID},"T":1723161255343,"m":true,"x":"'
    end = '"}}'
    return (head + rest + "y" * (length - len((head + rest + end).encode())) + end).encode()


def size(key, value, headers=()):
    return len(key) + len(value) + sum(len(name) + len(text) for name, text in headers) + 500


def test_longest_frame_with_the_longest_names_fits_into_a_message():
    symbol = "\U0002070e" * 50  # four bytes each
    raw = frame(MAX_RAW_BYTES, symbol=symbol, number=MAX_ID)
    trade = parse_frame(raw.decode())
    encode = Encoder("coinm", trade_schema_id=1, tick_schema_id=2).trades(symbol, "aggTrade", "WEBSOCKET")
    value = encode(f"{event_prefix('coinm', symbol, 'aggTrade')}{MAX_ID}", trade, 1_723_161_255_343_000, raw)
    assert len(raw) == MAX_RAW_BYTES
    assert size(record_key("coinm", symbol), value) < MESSAGE_MAX_BYTES - 50_000


@pytest.mark.parametrize("length", [MAX_RAW_BYTES + 1, 1 << 20, 5 << 20])
def test_longer_frame_is_a_dead_letter_under_its_id(length):
    outbox = FakeOutbox()
    intake = intake_on(outbox)
    intake.feed(lines(frame(length, number=1), frame(300, number=2)), ORIGIN)
    [(key, _, headers)] = outbox.letters()
    assert (key, headers["reason"]) == ("binance:spot:BTCUSDT:aggTrade:1", "too_large")
    assert outbox.ids() == [2]


def test_only_the_long_element_of_an_array_is_rejected():
    outbox = FakeOutbox()
    objects = [frame(length, number=number) for number, length in ((1, 300), (2, MAX_RAW_BYTES + 500), (3, 300))]
    array = b"[" + b",".join(item[item.index(b'"data":') + 7 : -1] for item in objects) + b"]"
    intake_on(outbox).feed(lines(array), ORIGIN)
    assert outbox.ids() == [1, 3]
    assert [(key, headers["reason"]) for key, _, headers in outbox.letters()] == [
        ("binance:spot:BTCUSDT:aggTrade:2", "too_large")
    ]


class Recorder:
    def __init__(self, error=None):
        self.sent, self.error = [], error

    def produce(self, topic, value, key, headers=None):
        if self.error is not None:
            raise confluent_kafka.KafkaException(confluent_kafka.KafkaError(self.error))
        self.sent.append((topic, value, key, headers))


def test_the_dead_letter_of_a_long_frame_is_cut():
    kafka, raw = Recorder(), frame(3 << 20, stream="z" * (2 << 20))
    Outbox(kafka).send_dead_letter(
        raw, {"reason": "too_large", "stream_name": "z" * (2 << 20), "detail": "\u5e01" * 9000}
    )
    [(topic, value, key, headers)] = kafka.sent
    found = dict(headers)
    assert topic == PRODUCER_DEAD_LETTERS
    assert raw.startswith(value)
    assert found["cut_from_bytes"] == str(len(raw)).encode()
    assert found["cut_from_sha256"] == hashlib.sha256(raw).hexdigest().encode()
    assert key == b"sha256:" + found["cut_from_sha256"]
    assert found["detail"].decode().endswith("\u5e01\u2026")
    assert size(key, value, headers) < MESSAGE_MAX_BYTES


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE, RejectedRecord),
        (confluent_kafka.KafkaError._UNKNOWN_TOPIC, StoreUnavailable),
    ],
)
def test_errors_of_the_client_are_typed(code, wanted):
    with pytest.raises(wanted):
        Outbox(Recorder(code)).send("crypto.ledger", b"x", b"key")
