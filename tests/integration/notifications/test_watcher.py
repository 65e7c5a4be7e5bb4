"""The watcher on real servers: candles and announcements become alerts, once, over kills."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from common.clients.kafka import TopicLog
from common.topics import ALERTS
from spark.streaming.candle_topic import CandleTopic
from tests.eventually import eventually
from tests.faults.processes import kill_program
from tests.integration.notifications.conftest import Receivers
from tests.runbook.following import FollowedPage
from tickhouse.alerts.log import after, recent
from tickhouse.dag_tasks.alerts import announce_failure, announce_warnings
from tickhouse.demo.alerts import rung_alerts

pytestmark = pytest.mark.integration
PATIENCE_S = 240.0
HOUR = timedelta(hours=1)


def bar(symbol: str, at: datetime, high: str, **more: str) -> dict[str, Any]:
    prices = {"open": "100", "low": "100", "close": "100", "volume": "10", "high": high} | more
    figures = dict.fromkeys(("quote_volume", "vwap", "taker_buy_volume", "taker_buy_quote_volume"), Decimal(1))
    counts = dict.fromkeys(("trades", "agg_trades", "open_trade_id", "close_trade_id"), 1)
    names = {"market": "spot", "symbol": symbol, "stream": "aggTrade", "open_time": at}
    return names | figures | counts | {name: Decimal(value) for name, value in prices.items()}


def of_subject(receivers: Receivers, subject: str) -> list[dict[str, Any]]:
    found = recent(receivers.settings, limit=1000)
    return [one.document for one in found if one.document["subject"] == subject]


def on_topic(receivers: Receivers, subject: str) -> list[dict[str, Any]]:
    """Return the alerts of a subject on `crypto.alerts`."""
    documents = []
    with closing(TopicLog(receivers.settings.kafka_bootstrap_servers)) as kafka:
        for record in kafka.records(ALERTS):
            try:
                document = json.loads(record.value or b"")
            except ValueError:
                continue
            if isinstance(document, dict) and document.get("subject") == subject:
                documents.append(document)
    return documents


def minutes_ago(count: int) -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=count)


@pytest.mark.runbook("market-moved")
def test_a_price_jump_rings_once_and_is_delivered(receivers: Receivers, followed: FollowedPage) -> None:
    symbol, start = f"JUMP{uuid.uuid4().hex[:6].upper()}", minutes_ago(4)
    quiet = [bar(symbol, start + timedelta(minutes=number), "101") for number in range(3)]
    jump = start + timedelta(minutes=3)

    # The bar fills in three steps, and the batch of the third is repeated.
    CandleTopic(receivers.settings).send([*quiet, *(bar(symbol, jump, high) for high in ("104", "106", "107", "107"))])

    (alert,) = eventually(lambda: of_subject(receivers, f"spot:{symbol}"), PATIENCE_S)
    assert (alert["kind"], alert["market"], alert["symbol"]) == ("price_move", "spot", symbol)
    assert alert["values"]["change_percent"] == "6.00"
    assert alert["window"] == jump.isoformat().replace("+00:00", "Z")
    ids = [alert["alert_id"]]
    for delivered in (receivers.by_file, receivers.by_webhook, receivers.by_email):
        assert eventually(lambda delivered=delivered: delivered(ids), PATIENCE_S) == {ids[0]: 1}
    assert on_topic(receivers, f"spot:{symbol}") == [alert]
    followed.values = {
        "MARKET": "spot", "SYMBOL": symbol, "BEGIN": f"{start:%Y-%m-%dT%H:%M}", "END": f"{jump + HOUR:%Y-%m-%dT%H:%M}",
    }  # fmt: skip
    with stored_candle(receivers, symbol, jump):
        printed = followed.check()
    assert f"More about price_jump: {followed.path}" in printed
    assert "107" in printed
    assert "price_jump" in followed.repair()


@contextmanager
def stored_candle(receivers: Receivers, symbol: str, minute: datetime) -> Iterator[None]:
    """Keep a candle of one trade in PostgreSQL, as the streaming query writes it."""
    write = """
        INSERT INTO market.candles_1m (market, symbol, stream, open_time, open, high, low, close, volume, quote_volume,
            vwap, trades, agg_trades, taker_buy_volume, taker_buy_quote_volume, open_trade_id, close_trade_id, checksum)
        VALUES ('spot', %s, 'aggTrade', %s, 107, 107, 107, 107, 1, 107, 107, 1, 1, 1, 107, 1, 1, 0)
    """
    with psycopg.connect(receivers.settings.database_dsn("owner"), autocommit=True) as connection:
        connection.execute(write, [symbol, minute])
        yield
        connection.execute("DELETE FROM market.candles_1m WHERE symbol = %s", [symbol])


def test_the_demo_waits_until_the_watcher_has_read_everything(receivers: Receivers) -> None:
    announce(receivers, "run-1")

    rung = rung_alerts(receivers.settings)

    assert rung.by_kind["run_failed"] >= 1
    assert rung.first


def test_a_jump_in_old_data_is_recorded_and_nobody_is_called(receivers: Receivers) -> None:
    symbol = f"OLD{uuid.uuid4().hex[:6].upper()}"
    start = datetime(2019, 6, 1, tzinfo=UTC)
    CandleTopic(receivers.settings).send([bar(symbol, start, "100"), bar(symbol, start + timedelta(minutes=1), "120")])

    (alert,) = eventually(lambda: of_subject(receivers, f"spot:{symbol}"), PATIENCE_S)
    assert alert["is_historic"]
    eventually(lambda: on_topic(receivers, f"spot:{symbol}"), PATIENCE_S)
    # What was sent after it has arrived, so the bridge has passed it.
    later = announce(receivers, "after-the-old-one")
    eventually(lambda: receivers.by_file([later["alert_id"]]), PATIENCE_S)
    assert receivers.rows([alert["alert_id"]]) == {}


def announce(receivers: Receivers, run_id: str, report: str = "") -> Mapping[str, Any]:
    dag = f"dag_{uuid.uuid4().hex[:8]}"
    laws = ["candles: low <= open, close <= high"] if report else []
    failure = {"error": "the task's error", "report": report, "laws": laws}
    announce_failure(receivers.settings, dag, run_id, "audit", failure)
    (alert,) = eventually(lambda: of_subject(receivers, f"dag:{dag}"), PATIENCE_S)
    return alert


def test_airflows_messages_go_the_same_way(receivers: Receivers) -> None:
    failed = announce(receivers, "run-1")
    audited = announce(receivers, "run-2", "http://127.0.0.1/report")
    announce_warnings(receivers.settings, "nightly_batch", "run-3", "http://127.0.0.1/report", ["law of volume"])
    (warned,) = eventually(lambda: of_subject(receivers, "dag:nightly_batch"), PATIENCE_S)

    assert [one["kind"] for one in (failed, audited, warned)] == ["run_failed", "audit_failed", "audit_failed"]
    assert "law of volume" in warned["summary"]
    assert "in task audit: the task's error" in failed["summary"]
    assert "candles: low <= open, close <= high. Report: http://127.0.0.1/report" in audited["summary"]
    ids = [one["alert_id"] for one in (failed, audited, warned)]
    assert eventually(lambda: len(receivers.by_email(ids)) == len(ids) and receivers.by_email(ids), PATIENCE_S) == (
        dict.fromkeys(ids, 1)
    )


def test_every_announcement_is_one_alert_while_the_watcher_is_killed(receivers: Receivers) -> None:
    dag, runs = f"dag_{uuid.uuid4().hex[:8]}", [f"run-{number}" for number in range(60)]
    for number, run in enumerate(runs):
        announce_failure(receivers.settings, dag, run)
        announce_failure(receivers.settings, dag, run)  # as a task that Airflow repeats
        if number % 20 == 10:
            kill_program("alert_watcher")

    eventually(lambda: len(of_subject(receivers, f"dag:{dag}")) == len(runs), PATIENCE_S)
    assert sorted(one["window"] for one in of_subject(receivers, f"dag:{dag}")) == sorted(runs)
    sent = eventually(lambda: (found := on_topic(receivers, f"dag:{dag}")) and len(ids(found)) == len(runs) and found)
    # A watcher that died after sending sends the same bytes again.
    assert len({json.dumps(one) for one in sent}) == len(runs)
    eventually(lambda: unpublished(receivers) == 0, PATIENCE_S)


def ids(documents: list[dict[str, Any]]) -> set[str]:
    return {one["alert_id"] for one in documents}


def unpublished(receivers: Receivers) -> int:
    with psycopg.connect(receivers.settings.database_dsn("reader")) as connection:
        row = connection.execute("SELECT count(*) FROM alerts.alerts WHERE published_at IS NULL").fetchone()
        return int(row[0]) if row else -1


def test_a_reader_of_the_log_follows_the_numbers(receivers: Receivers) -> None:
    last = max((one.number for one in recent(receivers.settings, limit=1)), default=0)
    newest = announce(receivers, "run-1")

    found = eventually(lambda: after(receivers.settings, last), PATIENCE_S)

    assert newest["alert_id"] in ids([one.document for one in found])
    assert [one.number for one in found] == sorted(one.number for one in found)
