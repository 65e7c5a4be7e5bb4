"""The check of Kafka, gaps, ledger and dead letters, and the law over them, without servers."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from common.errors import ConfigurationError
from tests.unit.tickhouse.checks.reconcile.samples import BTC, ETH, trade
from tickhouse.checks.reconcile import dead_letters, id_law
from tickhouse.checks.reconcile import gap_ledger as ledgers
from tickhouse.checks.reconcile.conservation_law import ReconcileReport
from tickhouse.checks.reconcile.kafka import LogRecord
from tickhouse.checks.reconcile.kafka_check import ExpectedTradesBuilder, KafkaTrust, compare_kafka
from tickhouse.checks.reconcile.kafka_records import UndecodableRecord
from tickhouse.checks.reconcile.model import CheckedStream, Rejection
from tickhouse.checks.reconcile.offered_events import OfferedEvents
from tickhouse.checks.reconcile.run import Options, report_of, summary
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.stores import CheckContext
from tickhouse.checks.reconcile.trade_comparison import Row
from tickhouse.cli.render.reconcile import show

FAR = {0: (0, 10_000)}


def rows_of(trades):
    return [Row(one, ("crypto.trades", 0, offset)) for offset, one in enumerate(trades)]


def message(value, key=b"k", topic="crypto.gaps", offset=0, **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return LogRecord(topic, 0, offset, 0, key, body, headers)


def ledger(*gaps, writers=()):
    stream = {"market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade"}
    shown = [stream | {"writer": "live", "counts": {}} | writer for writer in writers]
    return ledgers.read(
        [message(one, f"w{at}".encode()) for at, one in enumerate(shown)],
        [message(stream | gap, f"g{at}".encode()) for at, gap in enumerate(gaps)],
    )


def letter(key, reason="bad_number", position="f:1", offset=0):
    headers = {"reason": reason, "detail": "d", "source": "ARCHIVE", "position": position, "received_at_us": "1"}
    return message(b"raw", key.encode(), "dlq.producer", offset, **headers)


def truth_of(*trades, rejections=()):
    truth = OfferedEvents()
    truth.add_all([*trades, *rejections], "a file")
    return truth


def check(truth, stored, book=None, dead=(), ends=FAR) -> ReconcileReport:
    book = book or ledger()
    builder = ExpectedTradesBuilder(truth, KafkaTrust(truth, book), ends)
    base = compare_kafka(rows_of(stored), builder, book, dead_letters.read(dead), StoreResult("kafka"))
    context = CheckContext(base, truth)
    dlq, own = StoreResult("dlq.producer"), StoreResult("ledger")
    dead_letters.compare_rejections(base.letters, context.rejections, dlq, is_complete=base.is_complete)
    id_law.check_ledger(base, truth, own)
    return report_of(context, {"kafka": base.kafka}, {"dlq.producer": dlq, "ledger": own})


THREE = [trade(1), trade(2), trade(3)]


def test_the_law_holds_for_complete_stores_and_the_json_has_the_documented_keys():
    report = check(truth_of(*THREE), THREE)
    assert report.ok
    document = report.document()
    assert json.loads(json.dumps(document)) == document
    figures = {"offered": 3, "rejected": 0, "known_duplicates": 0, "gaps_open": 0, "gaps_filled": 0}
    assert {name: document[name] for name in ("ok", *figures)} == {"ok": True, **figures}
    kafka = document["stores"]["kafka"]
    assert {name: kafka[name] for name in ("count", "missing", "duplicate", "mismatch")} == {
        "count": 3, "missing": 0, "duplicate": 0, "mismatch": 0,
    }  # fmt: skip
    assert len(kafka["hash"]) == 16


@pytest.mark.parametrize(
    "stored", [THREE[:2], [*THREE[:2], trade(3, qty=7)], [*THREE, trade(4)], [*THREE[:2], trade(3, key=ETH)]]
)
def test_the_law_breaks_with_any_single_fault(stored):
    report = check(truth_of(*THREE), stored)
    assert not report.ok
    assert report.worst()
    assert "kafka" in summary(report)


def test_repeats_in_kafka_are_known_duplicates_and_the_law_holds():
    report = check(truth_of(*THREE), [*THREE, THREE[0], THREE[0]])
    assert report.ok
    assert (report.offered, report.known_duplicates) == (5, 2)


def test_a_repeat_in_the_sources_counts_once_with_its_copy_in_kafka():
    truth = truth_of(*THREE, trade(1))
    assert check(truth, THREE).known_duplicates == 1
    assert check(truth, [*THREE, trade(1)]).known_duplicates == 1


GAP = {"first_id": 2, "last_id": 2, "state": "open", "filled_ids": 0}


def test_an_id_in_an_open_gap_is_not_lost():
    report = check(truth_of(*THREE), [THREE[0], THREE[2]], ledger(GAP))
    assert report.ok
    assert (report.gaps.open_ids, report.ids.exchange_ids, report.ids.delivered, report.ids.open_gaps) == (1, 3, 2, 1)
    assert report.offered == 2


def test_an_id_in_a_gap_recorded_as_filled_is_missing():
    report = check(truth_of(*THREE), [THREE[0], THREE[2]], ledger(GAP | {"state": "filled", "filled_ids": 1}))
    assert not report.ok
    assert {name for name, *_ in report.worst()} == {"kafka", "ledger"}
    assert not report.ids.holds


def test_a_hole_in_a_source_must_be_in_the_ledger():
    truth = truth_of(trade(1), trade(3))
    assert not check(truth, [trade(1), trade(3)]).ok
    report = check(truth, [trade(1), trade(3)], ledger(GAP))
    assert report.ok
    assert (report.ids.exchange_ids, report.ids.open_gaps) == (3, 1)


def test_single_usdm_trades_may_skip_ids():
    key = CheckedStream("usdm", "BTCUSDT", "trade")
    stored = [trade(1, key=key), trade(3, key=key)]
    assert check(truth_of(*stored), stored).ok


def test_the_ledger_may_not_record_an_id_that_kafka_does_not_have():
    assert check(truth_of(*THREE), THREE, ledger(writers=[{"writer": "file:1", "seen": [[1, 3]]}])).ok
    report = check(truth_of(*THREE), THREE, ledger(writers=[{"writer": "file:1", "seen": [[1, 4]]}]))
    assert report.checks["ledger"].faults["missing"] == 1


REFUSED = Rejection("binance:spot:BTCUSDT:aggTrade:4", "bad_number", "")


def test_a_rejection_needs_its_dead_letter_once_and_with_its_reason():
    truth = truth_of(*THREE, rejections=[REFUSED])
    report = check(truth, THREE, dead=[letter(REFUSED.key)])
    assert report.ok
    assert (report.offered, report.rejected, report.ids.rejected, report.ids.exchange_ids) == (4, 1, 1, 4)
    again = [letter(REFUSED.key), letter(REFUSED.key, offset=1)]
    assert check(truth, THREE, dead=again).checks["dlq.producer"].known_duplicates == 1
    for dead, fault in (
        ([], "missing"),
        ([letter(REFUSED.key), letter(REFUSED.key, position="f:9")], "duplicate"),
        ([letter(REFUSED.key, reason="bad_time")], "mismatch"),
        ([letter(REFUSED.key), letter("sha256:00")], "mismatch"),
    ):
        report = check(truth, THREE, dead=dead)
        assert not report.ok
        assert report.checks["dlq.producer"].faults[fault] == 1


def test_rejected_ticks_are_compared_only_where_ticks_are_recorded():
    found = dead_letters.read([letter("binance:spot:BTCUSDT:ticker:1723161240000000"), letter("sha256:1", offset=1)])
    for has_ticks, faults in ((True, 2), (False, 1)):
        result = StoreResult("dlq.producer")
        dead_letters.compare_rejections(found, [], result, is_complete=True, has_ticks=has_ticks)
        assert result.faults["mismatch"] == faults
        assert bool(result.notes) is not has_ticks


def test_json_that_ends_early_may_be_called_truncated_or_invalid():
    truth = truth_of(rejections=[Rejection("sha256:1", "invalid_json", "")])
    assert check(truth, [], dead=[letter("sha256:1", reason="truncated")]).ok


def test_a_rejection_in_an_open_gap_needs_no_dead_letter():
    truth = truth_of(trade(1), trade(3), rejections=[Rejection("binance:spot:BTCUSDT:aggTrade:2", "bad_number", "")])
    report = check(truth, [trade(1), trade(3)], ledger(GAP))
    assert report.ok
    assert report.ids.exchange_ids == 3


def test_garbage_that_may_not_have_arrived_is_accepted_and_not_required():
    truth = truth_of(*THREE)
    truth.possible.append(Rejection("sha256:2", "not_utf8", ""))
    assert check(truth, THREE).offered == 3
    report = check(truth, THREE, dead=[letter("sha256:2", reason="not_utf8")])
    assert report.ok
    assert report.offered == 4


def test_without_a_record_of_offered_events_kafka_is_compared_with_itself():
    report = check(OfferedEvents(), [*THREE, trade(1)])
    assert report.ok
    assert not report.truth["is_recorded"]
    assert report.truth["kafka_is_truth_for"] == [str(BTC)]
    assert not check(OfferedEvents(), [*THREE, trade(1, qty=5)]).ok
    assert check(OfferedEvents(), THREE, dead=[letter("sha256:3")]).offered == 4


def test_kafka_is_trusted_only_for_streams_that_a_live_writer_writes():
    live = ledger(writers=[{"symbol": "ETHUSDT", "seen": [[9, 9]]}])
    stored = [*THREE, trade(9, key=ETH)]
    assert check(truth_of(*THREE), stored, live).ok
    assert not check(truth_of(*THREE), stored).ok


def test_of_a_file_that_is_left_out_kafkas_copy_counts():
    book = ledger(writers=[{"writer": "replay", "seen": [[1, 4]]}])
    truth = truth_of(*THREE)
    stored = [*THREE, trade(4)]
    assert not check(truth, stored, book).ok
    truth.left_out.append("other.zip")
    report = check(truth, stored, book, dead=[letter("sha256:5")])
    assert report.ok
    assert (report.offered, report.truth["left_out"]) == (5, ["other.zip"])
    assert not check(truth, [*THREE[:2], trade(3, qty=5)], book).ok  # what the other files offered still counts


def test_a_running_exchange_is_compared_up_to_the_read_record():
    truth = truth_of(*THREE)
    truth.live[BTC] = 3
    truth.is_running = True
    report = check(truth, [*THREE, trade(4), trade(5)])
    assert report.ok
    assert report.stores["kafka"].ahead == 2
    truth.is_running = False
    assert not check(truth, [*THREE, trade(4)]).ok


def test_kafka_as_truth_stops_at_the_offsets_of_the_start():
    truth = OfferedEvents()
    builder = ExpectedTradesBuilder(truth, KafkaTrust(truth, ledger()), {0: (0, 2)})
    base = compare_kafka(rows_of(THREE), builder, ledger(), dead_letters.Letters(), StoreResult("kafka"))
    assert sorted(base.expected.trades[BTC]) == [1, 2]
    assert base.horizon.excludes(BTC, 3)


def test_undecodable_records_are_in_dlq_spark_and_only_those():
    record = message(b"", topic="crypto.trades", offset=7)
    broken = [UndecodableRecord(record, "empty", "")]
    right = message(b"", b"crypto.trades-0-7", "dlq.spark", topic_="", reason="empty")
    right = right._replace(headers={"topic": "crypto.trades", "reason": "empty"})
    for dead, faults in (
        ([right], []),
        ([right, right._replace(offset=1)], []),
        ([], ["missing"]),
        ([right._replace(headers=right.headers | {"reason": "bad_magic"})], ["mismatch"]),
        ([right, right._replace(key=b"crypto.trades-0-8")], ["mismatch"]),
    ):
        result = StoreResult("dlq.spark")
        dead_letters.compare_broken(dead_letters.read(dead), broken, result, frozenset)
        assert [name for name, count in result.faults.items() if count] == faults


def test_a_letter_that_was_sent_again_may_decode_by_now():
    letter = message(b"x", b"crypto.trades-0-8", "dlq.spark", topic_="", reason="unknown_schema_id")
    letter = letter._replace(headers={"topic": "crypto.trades", "reason": "unknown_schema_id"})
    for sent, faults in ((frozenset({"crypto.trades-0-8"}), []), (frozenset({"crypto.trades-0-9"}), ["mismatch"])):
        result = StoreResult("dlq.spark")
        dead_letters.compare_broken(dead_letters.read([letter]), [], result, lambda sent=sent: sent)
        assert [name for name, count in result.faults.items() if count] == faults
        assert len(result.notes) == 1 - len(faults)


def test_a_ledger_entry_that_does_not_parse_is_named():
    with pytest.raises(ConfigurationError, match=r"crypto.gaps-0@5"):
        ledgers.read([], [message(b"{", offset=5)])


def test_tombstones_and_later_values_of_a_key_count():
    value = {"market": "spot", "symbol": "X", "stream": "aggTrade", "first_id": 1, "last_id": 2, "state": "open"}
    folded = ledgers.read([], [message(value), message(value | {"state": "filled"}), message(value, b"other")])
    assert sorted(gap["state"] for gap in folded.gaps) == ["filled", "open"]
    assert ledgers.read([], [message(value), message(value)._replace(value=None)]).gaps == []


def test_the_table_shows_the_fault_and_its_event():
    report = check(truth_of(*THREE), THREE[:2])
    console = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115
    show(report, console)
    text = console.export_text()
    console.file.close()
    assert "binance:spot:BTCUSDT:aggTrade:3" in text
    assert "The law is broken" in text


def test_stores_can_be_left_out():
    assert Options(without=("lake",)).chosen(("kafka", "lake")).stores == ("kafka",)
    assert Options(("lake", "redis"), without=("redis", "a.zip")).chosen(("kafka",)).stores == ("lake",)
    assert Options(without=("lake", "a.zip")).files_left_out == ["a.zip"]
    with pytest.raises(ConfigurationError, match="No store is left"):
        Options(without=("lake",)).chosen(("lake",))


def test_an_unknown_store_is_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match="Expected stores of kafka, enriched"):
        Options(("mysql",))
