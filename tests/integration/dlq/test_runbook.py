"""Records and files that were refused, repaired by the pages of the runbook."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from common.settings import Settings
from common.topics import TRADES
from producer.encoding.events import decode
from producer.writer.outbox import Outbox
from tests.conftest import Stack
from tests.integration.dlq.test_dlq import records
from tests.runbook.following import FollowedPage
from tests.unit.producer.fakes import agg
from tickhouse.cli import app
from tickhouse.dlq.letters import CONNECT

pytestmark = pytest.mark.integration

TOPIC = "dlq.mongodb-trades"


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up("kafka", "registry", "postgres")


@pytest.mark.runbook("dead-letters")
def test_a_record_that_a_store_refused(settings: Settings, followed: FollowedPage) -> None:
    headers = {"topic": "crypto.ticks", "partition": "0", "offset": "888888", "stage": "TASK_PUT",
               "exception.class.name": "x.ConnectException", "exception.message": "refused"}  # fmt: skip
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(60)
    outbox = Outbox.connect(settings.kafka_bootstrap_servers)
    outbox.send(TOPIC, b"refused", b"BINANCE:SPOT:X", [(CONNECT + name, text) for name, text in headers.items()])
    outbox.flush()
    followed.values = {"TOPIC": TOPIC}

    assert "ConnectException" in followed.check()
    followed.repair()

    sent = [one for one in records(settings, "crypto.ticks") if one.headers.get("redrive.of", "").startswith(TOPIC)]
    assert [(one.key, one.value) for one in sent] == [(b"BINANCE:SPOT:X", b"refused")]


@pytest.mark.runbook("rejected-input")
def test_a_file_that_is_cut(settings: Settings, followed: FollowedPage, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.txt.gz", tmp_path / "cut.txt.gz"
    lines = b"".join(b"1723161255343000000 " + agg(number, symbol="CUTUSDT") + b"\n" for number in range(1, 5_000))
    whole.write_bytes(gzip.compress(lines))
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    refused = CliRunner().invoke(app, ["replay", str(cut), "--market", "spot", "--no-wait"])
    assert refused.exit_code == 5
    assert f"More: {followed.path}" in refused.stderr
    followed.values = {"FILE": str(whole), "MARKET": "spot"}

    assert "truncated" in followed.check()
    followed.repair()

    values = [one.value or b"" for one in records(settings, TRADES)]
    ids = [decode("trade", value)["event_id"] for value in values if b":CUTUSDT:" in value]
    assert sorted(int(one.rpartition(":")[2]) for one in ids) == [*range(1, 5_000)]
