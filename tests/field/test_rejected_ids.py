"""A bad copy never blocks a good one: a valid event is delivered after its id was rejected."""

from __future__ import annotations

import asyncio
import itertools
import json

import httpx
import pytest

from producer.exchange.rest import ATTEMPTS, PAGE
from producer.recovery.rejected_ids import MOST_PAGES, RejectedIdRetry
from producer.writer.ledger_store import LIVE
from tests.field.in_memory_replays import InMemoryHome, write_archive, write_bad_archive
from tests.shared_files import field_file
from tests.unit.producer.fake_rest import Clock, Exchange, client_for, rest_row
from tests.unit.producer.fakes import ORIGIN, FakeOutbox, agg, intake_on, lines
from tests.unit.tickhouse.checks.reconcile.samples import trade
from tests.unit.tickhouse.checks.reconcile.test_conservation_law import check, letter, truth_of
from tickhouse.checks.reconcile.model import Rejection
from tickhouse.checks.reconcile.offered_events import OfferedEvents

KEY = "binance:spot:BTCUSDT:aggTrade:"


def test_the_repaired_file_is_sent_whole(tmp_path):
    home = InMemoryHome()
    bad = home.replay(write_bad_archive(tmp_path / "bad.csv", range(1, 101), price="1e5"))

    assert bad.sent == 1
    assert bad.counts["rejected"] == 100
    assert len(home.letters()) == 100

    good = home.replay(write_archive(tmp_path / "good.csv", range(1, 101)))
    assert good.sent == 100
    assert good.counts["duplicates"] == 0
    assert home.ids() == [*range(101)]
    assert home.replay(write_archive(tmp_path / "good.csv", range(1, 101))).sent == 0
    assert home.gaps() == []


def test_the_order_of_good_and_bad_does_not_matter(tmp_path):
    """Each id is delivered once, and each bad row of a file has one dead letter, in any order."""
    bad = write_bad_archive(tmp_path / "bad.csv", range(1, 11), price="x")
    good = write_archive(tmp_path / "good.csv", range(11))
    half = write_archive(tmp_path / "half.csv", range(11))
    rows = half.read_text().splitlines()
    half.write_text("\n".join([rows[0], *(row.replace("100.5", "-") for row in rows[1:6]), *rows[6:], ""]))
    for order in itertools.permutations([bad, good, half]):
        home = InMemoryHome()
        for path in [*order, *order]:
            home.replay(path)
        assert sorted(home.ids()) == [*range(11)], order
        assert len(home.letters()) == 15, order


def test_a_bad_and_a_good_row_of_one_file(tmp_path):
    path = tmp_path / "both.csv"
    good, bad = (
        write_archive(tmp_path / "g.csv", [1, 2, 3]).read_text(),
        write_archive(tmp_path / "b.csv", [2, 2], qty="x").read_text(),
    )
    path.write_text(bad + good + bad)
    home = InMemoryHome()
    first = home.replay(path)
    again = home.replay(path)

    assert sorted(home.ids()) == [1, 2, 3]
    assert len(home.letters()) == 1
    assert first.counts == again.counts
    assert again.sent == 0


@pytest.mark.parametrize("other", ["backfill", LIVE])
def test_any_writer_delivers_what_another_rejected(tmp_path, other):
    home = InMemoryHome()
    home.replay(write_bad_archive(tmp_path / "bad.csv", range(1, 6), price="x"))
    writer = home.writer(other)
    writer.intake.feed(lines(*map(agg, range(1, 6))), ORIGIN)
    writer.close()

    assert home.ids() == [0, 1, 2, 3, 4, 5]
    assert home.replay(write_archive(tmp_path / "good.csv", range(1, 6))).sent == 0

    restarted = home.writer(LIVE)
    restarted.intake.feed(lines(*map(agg, range(1, 6))), ORIGIN)

    assert len(home.ids()) == 6


def test_a_rejected_frame_is_delivered_by_rest_and_has_one_dead_letter(tmp_path):
    home = InMemoryHome()
    live = home.writer(LIVE)
    live.intake.feed(lines(agg(1), agg(2, price="x"), agg(3), agg(2, price="x")), ORIGIN)

    assert home.ids() == [1, 3]
    assert len(home.letters()) == 1
    assert live.gaps.open_gaps() == []
    assert list(live.intake.rejected_ids["aggTrade", "BTCUSDT"]) == [(2, 2)]

    live.intake.feed(lines(agg(2)), ORIGIN)
    live.close()
    again = home.writer(LIVE)
    again.intake.feed(lines(agg(2), agg(2, price="x"), agg(4)), ORIGIN)

    assert home.ids() == [1, 3, 2, 4]
    assert len(home.letters()) == 1


def recheck(exchange, *frames):
    """Feed frames to a live intake and recheck its rejections; get (outbox, intake, requests)."""
    outbox = FakeOutbox()
    intake = intake_on(outbox)

    async def exclusive(work):
        work()

    async def run():
        intake.feed(lines(*frames), ORIGIN)
        worker = RejectedIdRetry(client_for(exchange), intake, exclusive, Clock().sleep)
        for _ in range(3):
            await worker.retry_new_ids()

    asyncio.run(run())
    return outbox, intake, len(exchange.asked)


def test_a_rejected_frame_is_asked_for_once_and_delivered_from_rest():
    outbox, intake, requests = recheck(
        Exchange(range(1, 10)), agg(1), agg(2, price="x"), agg(3), agg(6, price="x"), agg(7)
    )
    assert sorted(outbox.ids()) == [1, 2, 3, 6, 7]
    assert requests == 1
    assert len(intake.ledger("BTCUSDT", "aggTrade").rejected) == 0


def test_a_row_that_rest_serves_broken_too_has_one_dead_letter():
    rows = json.dumps([rest_row(1) | {"p": "x"}])
    outbox, _, requests = recheck(Exchange(range(1, 3), [httpx.Response(200, content=rows)]), agg(1, price="x"))

    assert outbox.ids() == []
    assert len(outbox.letters()) == 1
    assert requests == 1


def test_a_format_that_changed_costs_a_few_requests():
    outbox, _, requests = recheck(Exchange(range(1, 20_001)), *(agg(n, price="x") for n in range(1, 20_001)))
    assert len(outbox.ids()) == MOST_PAGES * PAGE
    assert requests == MOST_PAGES


def test_rejected_ids_wait_for_an_exchange_that_does_not_answer():
    away = [httpx.Response(503) for _ in range(ATTEMPTS)]
    outbox, _, _ = recheck(Exchange(range(1, 3), away), agg(1, price="x"))
    assert outbox.ids() == [1]


def test_a_snapshot_of_an_earlier_version_blocks_nothing(tmp_path):
    """It lists rejected ids among the seen ones; only the dead letters say which they are."""
    home = InMemoryHome()
    home.replay(write_bad_archive(tmp_path / "bad.csv", range(1, 6), price="x"))
    for at, record in enumerate(home.outbox.records):
        if record[0] == "crypto.ledger" and record[2] is not None:
            value = json.loads(record[2])
            for name in ("rejected", "began_at", "parts"):
                value.pop(name, None)
            home.outbox.records[at] = (*record[:2], json.dumps(value).encode(), record[3])

    assert home.replay(write_archive(tmp_path / "good.csv", range(1, 6))).sent == 5


def test_a_writer_killed_before_its_snapshot_blocks_nothing(tmp_path):
    home = InMemoryHome()
    dead = home.writer("file:aaaa")
    dead.intake.feed(lines(*(agg(n, price="x") for n in range(1, 4))), ORIGIN)

    assert home.replay(write_archive(tmp_path / "good.csv", range(1, 6))).sent == 5


def test_a_spreadsheet_and_its_repaired_copy_leave_each_trade_once(tmp_path):
    """Whether TRUE is read or rejected, the repaired copy leaves 12 trades in the log."""
    path = field_file("BTCUSDT-aggTrades-2023-11.csv")
    home = InMemoryHome("usdm")
    repaired = tmp_path / "BTCUSDT-aggTrades-2023-11.csv"
    repaired.write_text(path.read_text().replace("TRUE", "true").replace("FALSE", "false"))
    first = home.replay(path)
    second = home.replay(repaired)

    assert first.sent + second.sent == 12
    assert len(set(home.ids())) == len(home.ids()) == 12


def test_reconcile_counts_a_delivered_bad_copy_once():
    refused = [Rejection(f"{KEY}{n}", "bad_number", "", "f:1") for n in (1, 2, 9)]
    truth = truth_of(*[trade(n) for n in (1, 2, 3)], rejections=refused)
    dead = [letter(one.key, offset=at) for at, one in enumerate(refused)]
    report = check(truth, [trade(n) for n in (1, 2, 3)], dead=dead)

    assert report.ok
    assert report.offered == 4
    assert report.rejected == 1
    assert report.resolved == 2
    assert report.ids.exchange_ids == 4
    assert report.ids.delivered == 3
    assert report.ids.rejected == 1
    assert not check(truth, [trade(n) for n in (1, 2, 3)], dead=dead[:1]).ok  # a letter is due all the same


def test_reconcile_requires_one_letter_per_source_and_id():
    one = Rejection(f"{KEY}4", "bad_number", "", "f:1")
    truth = truth_of(trade(1), rejections=[one, one])

    assert check(truth, [trade(1)], dead=[letter(one.key)]).offered == 2

    truth.add_all([one], "another file")
    dead = [letter(one.key), letter(one.key, position="g:1", offset=1)]

    assert check(truth, [trade(1)], dead=dead).ok


def test_without_recorded_truth_a_letter_whose_id_is_in_kafka_is_resolved():
    stored = [trade(n) for n in (1, 2, 3)]
    dead = [letter(f"{KEY}2"), letter(f"{KEY}2", position="g:1", offset=1), letter(f"{KEY}9", offset=2)]
    report = check(OfferedEvents(), stored, dead=[*dead, letter(f"{KEY}3", reason="conflict", offset=3)])

    assert report.ok
    assert report.offered == 5
    assert report.rejected == 2
    assert report.resolved == 2
