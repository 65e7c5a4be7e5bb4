"""Faults between the exchange and Kafka, repaired by the pages of the runbook."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from common.settings import Settings
from common.topics import GAPS
from producer.ledger.gaps import OPEN, Gap
from producer.writer.outbox import Outbox
from stack.engine import supervisor
from stack.engine.lifecycle import up
from tests.e2e.lakehouse import record_count
from tests.eventually import eventually
from tests.faults.processes import answers
from tests.integration.exchange.conftest import Start
from tests.integration.producer.conftest import Log
from tests.integration.producer.test_live import market, metrics
from tests.runbook.following import FollowedPage
from tickhouse.cli import app

pytestmark = pytest.mark.integration

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def live(broker: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The exchange and the producer as services, on a slow market."""
    config = tmp_path_factory.mktemp("exchange") / "market.yaml"
    config.write_text(yaml.safe_dump(market(speed=1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TICKHOUSE_EXCHANGE_CONFIG", str(config))
        up(services=["exchange", "producer"])
        yield broker
        supervisor.stop(["producer", "exchange"])


@pytest.mark.runbook("trades-stopped")
def test_a_broker_that_is_down(live: Settings, followed: FollowedPage) -> None:
    eventually(lambda: record_count(live) > 0, PATIENCE_S)
    supervisor.stop(["kafka"])

    followed.check()
    followed.repair()

    before = record_count(live)
    eventually(lambda: record_count(live) > before, PATIENCE_S)


@pytest.mark.runbook("exchange-disconnected")
def test_an_exchange_that_is_down(live: Settings, followed: FollowedPage) -> None:
    supervisor.stop(["exchange"])
    eventually(lambda: metrics().get("tickhouse_producer_connections") == 0, PATIENCE_S)

    assert "producer" in followed.check()
    followed.repair()

    assert answers("exchange")
    eventually(lambda: metrics().get("tickhouse_producer_connections", 0) > 0, PATIENCE_S)


@pytest.mark.runbook("gap-open")
def test_a_gap_that_nobody_filled(
    log: Log, broker: Settings, exchange: Start, followed: FollowedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = exchange(market(speed=1000, start="boot"))
    eventually(running.is_done, PATIENCE_S)
    newest = int(running.get("/api/v3/aggTrades?symbol=BTCUSDT&limit=1").json()[0]["a"])
    monkeypatch.setenv("EXCHANGE_REST_URL", f"http://{running.address}")
    outbox = Outbox.connect(broker.kafka_bootstrap_servers)
    gap = Gap("spot", "BTCUSDT", "aggTrade", newest - 3, newest - 1, OPEN, detected_at_us=1, source="ARCHIVE")
    outbox.send(GAPS, msgspec.json.encode(gap), gap.name.encode())
    outbox.flush()
    followed.values = {
        "MARKET": "spot",
        "SYMBOL": "BTCUSDT",
        "FIRST_ID": str(gap.first_id),
        "LAST_ID": str(gap.last_id),
    }

    assert str(gap.first_id) in followed.check()
    followed.repair()

    assert json.loads(CliRunner().invoke(app, ["gaps", "--state", "open", "--json"]).stdout) == []
