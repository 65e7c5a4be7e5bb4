"""Fill real stores with data in which one row is wrong; reconcile must name store and fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count

import pytest
from typer.testing import CliRunner

from common.settings import Settings, load_settings
from tests.homes import own_home
from tests.integration.reconcile.seed import Plan, Seeder, redis_hashes
from tests.unit.tickhouse.checks.reconcile.samples import CORRUPTIONS, START_US, altered, doubled, trade
from tickhouse.checks.reconcile import bars, latest_prices
from tickhouse.checks.reconcile.model import MINUTE_US, CheckedStream, plain
from tickhouse.cli import app

pytestmark = pytest.mark.integration

BTC, ETH = CheckedStream("spot", "BTCUSDT", "aggTrade"), CheckedStream("spot", "ETHUSDT", "aggTrade")
BRANCHES = count()
# Two symbols, three minutes, a sentinel, several sizes and sides; ids without holes.
OFFERED = [
    trade(
        5_000_000_000 + number, key=key, first_id=number * 3, last_id=number * 3 + number % 3, qty=150000 + number,
        price=0 if (key, number) == (BTC, 7) else 6_168_599_000_000 + number * 1_000_000,
        side="SELL" if number % 2 else "BUY", time_us=START_US + number * 7_001_000,
    )
    for key in (BTC, ETH)
    for number in range(20)
]  # fmt: skip
AT = 12
REFUSED = json.dumps(
    {
        "e": "aggTrade", "E": 1723161240000, "s": "BTCUSDT", "a": 5_000_000_020, "p": "1.123456789", "q": "1", "f": 1,
        "l": 1, "T": 1723161240000, "m": True,
    }
)  # fmt: skip
REFUSED_ID = "binance:spot:BTCUSDT:aggTrade:5000000020"


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    from stack.engine.lifecycle import up

    with own_home():
        up(services=["kafka", "registry", "postgres", "redis", "lakefs"])
        yield load_settings()


@pytest.fixture
def seeder(settings: Settings) -> Seeder:
    made = Seeder(settings, f"reconcile-{next(BRANCHES)}")
    made.empty()
    return made


def plan(**changes) -> Plan:
    right = {"bad_lines": [REFUSED], "dead_letters": [(REFUSED_ID, "decimal_out_of_range")]}
    return Plan(OFFERED, **(right | changes))


def reconcile(seeder: Seeder, *options: str) -> tuple[int, dict]:
    done = CliRunner().invoke(app, ["reconcile", "--json", "--ref", seeder.ref, *options])
    assert done.stdout, done.output
    return done.exit_code, json.loads(done.stdout)


def wrong(document: dict) -> dict[str, dict[str, int]]:
    """Return the stores and checks with faults, each with its counts."""
    faults = ("missing", "duplicate", "mismatch")
    found = {**document["stores"], **document["checks"]}
    return {
        name: {fault: one[fault] for fault in faults if one[fault]}
        for name, one in found.items()
        if any(one[fault] for fault in faults)
    }


def test_the_law_holds_for_right_stores(seeder):
    seeder.write(plan())
    code, document = reconcile(seeder)
    assert wrong(document) == {}
    assert (code, document["ok"]) == (0, True)
    assert (document["offered"], document["rejected"], document["known_duplicates"]) == (41, 1, 0)
    assert document["gaps_open"] == document["gaps_filled"] == 0
    stores = document["stores"]
    assert list(stores) == ["kafka", "enriched", "lake", "postgres", "redis"]
    assert {stores[name]["hash"] for name in ("kafka", "enriched", "lake", "postgres")} == {stores["kafka"]["hash"]}
    assert all(law["holds"] for law in document["law"]["stores"].values())


TRADE_FAULTS = {
    "deleted": {"missing": 1},
    "doubled": {},
    "altered": {"mismatch": 1},
    "moved": {"missing": 1, "mismatch": 1},
    "shifted": {"mismatch": 1},
}


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("store", ["kafka", "enriched", "lake"])
def test_one_wrong_row_of_trades_is_found_in_its_store(seeder, store, name):
    seeder.write(plan(**{store: CORRUPTIONS[name](OFFERED, AT)}))
    code, document = reconcile(seeder)
    wanted = {"duplicate": 1} if (store, name) == ("lake", "doubled") else TRADE_FAULTS[name]
    assert wrong(document) == ({store: wanted} if wanted else {})
    assert code == (7 if wanted else 0)
    repeats = document["stores"][store]["known_duplicates"]
    assert repeats == (name == "doubled" and store != "lake")
    if store == "kafka":
        assert document["known_duplicates"] == repeats
        assert document["offered"] == 41 + repeats
    if wanted:
        assert OFFERED[AT].event_id in {example["subject"] for example in document["stores"][store]["examples"]}
        assert not document["law"]["stores"][store]["holds"] or name == "doubled"


def right_bars():
    return list(bars.bars_of(OFFERED).values())


def corrupted_bars(name):
    right = right_bars()
    other = CheckedStream("spot", "XRPETH", "aggTrade")
    return {
        "deleted": right[1:],
        "doubled": list(bars.bars_of(doubled(OFFERED, AT)).values()),
        "altered": list(bars.bars_of(altered(OFFERED, AT)).values()),
        "moved": [right[0]._replace(key=other), *right[1:]],
        "shifted": [right[0]._replace(open_time_us=right[0].open_time_us - MINUTE_US), *right[1:]],
    }[name]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_one_wrong_candle_is_found(seeder, name):
    seeder.write(plan(bars=corrupted_bars(name)))
    code, document = reconcile(seeder)
    shifted = {"missing": 1, "mismatch": 1}
    wanted = {"deleted": {"missing": 1}, "moved": shifted, "shifted": shifted}.get(name, {"mismatch": 1})
    assert wrong(document) == {"postgres": wanted}
    assert code == 7


def test_an_id_that_was_not_applied_is_found(seeder):
    seeder.write(plan(bars=[]))
    seeder.postgres(right_bars(), [])
    seeder_dsn = seeder.settings.database_dsn("stream")
    import psycopg

    with psycopg.connect(seeder_dsn) as connection:
        connection.execute(
            "UPDATE market.trade_ranges SET seen = seen - '{[5000000003,5000000004)}' WHERE symbol = 'ETHUSDT'"
        )
    code, document = reconcile(seeder, "--store", "postgres")
    assert (code, wrong(document)) == (7, {"postgres": {"mismatch": 1}})
    assert document["stores"]["postgres"]["examples"][0]["subject"] == "binance:spot:ETHUSDT:aggTrade:5000000003"


def corrupted_hashes(name):
    right = redis_hashes(OFFERED)
    key = latest_prices.key_of(BTC)
    last = right[key]
    return {
        "deleted": {other: fields for other, fields in right.items() if other != key},
        "doubled": right | {key: redis_hashes([*OFFERED, OFFERED[19]])[key]},
        "altered": right | {key: last | {"price": "1.00000000"}},
        "moved": {other.replace("BTCUSDT", "XRPETH"): fields for other, fields in right.items()},
        "shifted": right | {key: last | {"trade_time_us": str(int(last["trade_time_us"]) + MINUTE_US)}},
    }[name]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_one_wrong_latest_trade_is_found(seeder, name):
    seeder.write(plan(hashes=corrupted_hashes(name)))
    code, document = reconcile(seeder)
    wanted = {"deleted": {"missing": 1}, "moved": {"missing": 1, "mismatch": 1}}.get(name, {"mismatch": 1})
    assert wrong(document) == {"redis": wanted}
    assert code == 7


def test_a_dead_letter_that_is_missing_or_too_many_is_found(seeder):
    seeder.write(plan(dead_letters=[]))
    code, document = reconcile(seeder)
    # Its id is in no store, no dead letter and no gap.
    assert wrong(document) == {"dlq.producer": {"missing": 1}}
    assert code == 7
    seeder.dead_letter(REFUSED_ID, "decimal_out_of_range")
    seeder.send("dlq.producer", b"valid", OFFERED[0].event_id.encode(), headers=[("reason", "bad_id")])
    assert wrong(reconcile(seeder)[1]) == {"dlq.producer": {"mismatch": 1}}


def test_an_undecodable_record_must_be_in_dlq_spark(seeder):
    seeder.write(plan())
    seeder.send("crypto.trades", b"\x07rubbish", b"x", partition=0)
    _, document = reconcile(seeder)
    assert wrong(document) == {"dlq.spark": {"missing": 1}}
    key = document["checks"]["dlq.spark"]["examples"][0]["subject"].encode()
    seeder.send("dlq.spark", b"\x07rubbish", key, headers=[("topic", "crypto.trades"), ("reason", "bad_magic")])
    assert reconcile(seeder)[0] == 0


def test_without_a_record_of_offered_events_the_stores_are_compared_with_kafka(seeder):
    seeder.write(plan(lake=OFFERED[:-1]))
    from common.settings import home

    (home() / "truth" / "files.jsonl").unlink()
    code, document = reconcile(seeder)
    assert document["truth"]["is_recorded"] is False
    assert (code, wrong(document)) == (7, {"lake": {"missing": 1}})


def test_what_kafka_has_removed_is_expired_and_the_law_holds(seeder, request):
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    seeder.write(plan())
    book = {"market": "spot", "stream": "aggTrade", "writer": "file:1", "seen": [[5_000_000_000, 5_000_000_019]]}
    keys = {symbol: f"spot/{symbol}/aggTrade/file:1".encode() for symbol in ("BTCUSDT", "ETHUSDT")}
    for symbol, key in keys.items():
        seeder.send("crypto.ledger", json.dumps(book | {"symbol": symbol}).encode(), key)
    request.addfinalizer(lambda: [seeder.send("crypto.ledger", None, key) for key in keys.values()])
    # As after the broker's seven days of retention: the oldest records of a partition are removed.
    cut = {}
    for one in OFFERED[:8]:
        partition, offset = seeder.places[one.event_id]
        cut[partition] = max(cut.get(partition, 0), offset + 1)
    admin = AdminClient({"bootstrap.servers": seeder.settings.kafka_bootstrap_servers})
    for future in admin.delete_records([TopicPartition("crypto.trades", *one) for one in cut.items()]).values():
        future.result()
    code, document = reconcile(seeder)
    assert (code, wrong(document)) == (0, {})
    assert document["stores"]["kafka"]["expired"] == 8
    assert document["law"]["exchange_ids"]["expired"] == 8
    assert document["stores"]["lake"]["delivered"] == 40

    from common.settings import home

    (home() / "truth" / "files.jsonl").unlink()  # now Kafka is the reference, and has fewer events than the stores
    code, document = reconcile(seeder)
    broken = {name: law for name, law in document["law"]["stores"].items() if not law["holds"]}
    assert (code, wrong(document), broken) == (0, {}, {})
    assert document["stores"]["lake"]["ahead"] == 8


def test_wait_repeats_the_check_until_the_stores_have_caught_up(seeder):
    import threading

    late = plan(lake=OFFERED[:-1])
    seeder.write(late)
    timer = threading.Timer(4.0, lambda: seeder.lake(OFFERED))
    timer.start()
    try:
        code, document = reconcile(seeder, "--wait", "60")
    finally:
        timer.join()
    assert (code, document["ok"]) == (0, True)


def test_the_table_is_for_people_and_the_error_names_the_next_command(seeder):
    seeder.write(plan(kafka=OFFERED[:AT] + OFFERED[AT + 1 :]))
    done = CliRunner().invoke(app, ["reconcile", "--ref", seeder.ref, "--store", "kafka"], env={"COLUMNS": "200"})
    assert done.exit_code == 7
    assert "Conservation law" in done.output
    assert f"tickhouse explain {OFFERED[AT].event_id}" in done.output


def test_explain_follows_an_event_through_every_system(seeder):
    seeder.write(plan())
    seeder.repository.branch(seeder.ref).commit("first batch")
    event = OFFERED[19].event_id
    done = CliRunner().invoke(app, ["explain", event, "--ref", seeder.ref, "--json"])
    document = json.loads(done.stdout)
    systems = document["systems"]
    assert (done.exit_code, document["found"], document["unavailable"]) == (0, True, {})
    assert [row["price"] for row in systems["kafka"]] == [plain(OFFERED[19].price)]
    assert len(systems["enriched"]) == 1
    assert systems["lake"][0]["first_commit"]["message"] == "first batch"
    assert systems["postgres"]["is_applied"] is True
    assert systems["postgres"]["bar"]["close_trade_id"] == OFFERED[19].trade_id
    assert systems["redis"]["is_latest"] is True
    assert systems["dlq.producer"] == []


def test_explain_shows_a_rejection_and_reports_an_unknown_event(seeder):
    seeder.write(plan())
    done = CliRunner().invoke(app, ["explain", REFUSED_ID, "--ref", seeder.ref, "--json"])
    assert json.loads(done.stdout)["systems"]["dlq.producer"][0]["reason"] == "decimal_out_of_range"
    done = CliRunner().invoke(
        app, ["explain", "binance:spot:BTCUSDT:aggTrade:1", "--ref", seeder.ref], env={"COLUMNS": "200"}
    )
    assert "No system knows this event" in done.output
    assert CliRunner().invoke(app, ["explain", "nonsense"]).exit_code == 2


def test_candles_are_the_contracts(seeder):
    seeder.write(plan())
    arguments = ["candles", "--market", "spot", "--symbol", "ETHUSDT", "--json", "--from", "2024-08-08T23:54:00Z"]
    done = CliRunner().invoke(app, [*arguments, "--to", "1723161360000", "--interval", "1m"])
    found = json.loads(done.stdout)
    assert [one["open_time_ms"] for one in found] == [1723161240000, 1723161300000]
    assert found[0]["open"] == "61685.99000000"
    assert found[0]["trades"] == sum(one.last_id - one.first_id + 1 for one in OFFERED[20:29])
    hour = json.loads(
        CliRunner().invoke(app, [*arguments[:-1], "2024-08-08T23:00Z", "--to", "2024-08-09", "--interval", "1h"]).stdout
    )
    assert [one["trades"] for one in hour] == [sum(one.last_id - one.first_id + 1 for one in OFFERED[20:])]
