"""An id that comes again with other values is a conflict: a replay reports it and sends nothing."""

from __future__ import annotations

import pytest

from producer.ledger.delivered_values import DeliveredPayloads
from producer.writer.ledger_store import LIVE
from tests.field.in_memory_replays import InMemoryHome, write_archive, write_bad_archive
from tests.unit.producer.fakes import ORIGIN, agg, lines

KEY = "binance:spot:BTCUSDT:aggTrade:"


def changed(path, *numbers):
    """Change the price in rows of a file, which are counted from 0."""
    rows = path.read_text().splitlines()
    path.write_text(
        "".join(f"{row.replace('100.5', '99')}\n" if at in numbers else f"{row}\n" for at, row in enumerate(rows))
    )
    return path


def test_other_values_under_a_known_id_are_a_conflict_that_names_both(tmp_path):
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "a.csv", range(1, 101)))
    other = changed(write_archive(tmp_path / "b.csv", range(1, 103)), 6, 50)
    done = home.replay(other)

    assert done.sent == 2
    assert done.counts["conflicts"] == 2
    assert done.counts["duplicates"] == 98
    assert done.repeats == 100
    assert done.compared == 100

    letters = home.outbox.letters()
    assert [(key, headers["reason"]) for key, _, headers in letters] == [
        (f"{KEY}7", "conflict"),
        (f"{KEY}51", "conflict"),
    ]

    _, raw, headers = letters[0]
    assert raw.startswith(b"7,99,")
    assert headers["known_payload"].startswith("7,100.5,")
    assert headers["known_at"] == "crypto.trades:0:6"
    assert "price 100.50000000" in headers["detail"]
    assert "was price 99.00000000" in headers["detail"]

    again = home.replay(other)
    assert again.counts["conflicts"] == 2
    assert len(home.letters()) == 2
    assert len(home.ids()) == 102


def test_a_file_is_compared_with_what_a_live_stream_delivered(tmp_path):
    home = InMemoryHome()
    live = home.writer(LIVE)
    live.intake.feed(lines(*map(agg, range(1, 11))), ORIGIN)
    live.close()
    done = home.replay(write_archive(tmp_path / "a.csv", range(1, 11)))

    assert done.sent == 0
    assert done.counts["conflicts"] == 10
    assert done.compared == 10


def test_a_forced_replay_sends_equal_rows_and_no_conflict(tmp_path):
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "a.csv", range(1, 11)))
    done = home.replay(changed(write_archive(tmp_path / "b.csv", range(1, 11)), 4), again=True)

    assert done.sent == 9
    assert done.counts["conflicts"] == 1


def test_a_repaired_id_is_no_conflict(tmp_path):
    home = InMemoryHome()
    home.replay(write_bad_archive(tmp_path / "bad.csv", range(1, 11), price="x"))
    done = home.replay(write_archive(tmp_path / "good.csv", range(1, 11)))

    assert done.sent == 10
    assert done.counts["conflicts"] == 0


def test_known_values_are_read_from_the_log_once(tmp_path):
    """The log is read once, however many ids are repeated."""
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "a.csv", range(1, 1_001)))
    source = write_archive(tmp_path / "b.csv", range(1, 1_002))
    home.log.read_records = 0
    done = home.replay(source)

    assert done.compared == 1_000
    assert done.repeats == 1_000
    assert home.log.read_records < 1_010
    assert home.replay(write_archive(tmp_path / "a.csv", range(1, 1_001))).repeats == 0  # this file's own ids


def test_beyond_the_bound_the_result_says_how_many_were_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("producer.ledger.delivered_values.MOST_RECORDS", 100)
    monkeypatch.setattr(DeliveredPayloads.__init__, "__defaults__", (100,))
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "a.csv", range(1, 1_001)))
    done = home.replay(write_archive(tmp_path / "b.csv", range(1, 1_002)))

    assert done.repeats == 1_000
    assert done.compared == 100
    assert done.counts["duplicates"] == 1_000


@pytest.mark.parametrize("column", [{"qty": "3"}, {"maker": "False"}, {"price": "100.50000001"}])
def test_any_value_may_differ(tmp_path, column):
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "a.csv", [1]))
    assert home.replay(write_archive(tmp_path / "b.csv", [1], **column)).counts["conflicts"] == 1


def test_digits_and_units_that_mean_the_same_are_no_conflict(tmp_path):
    home = InMemoryHome()
    home.replay(write_archive(tmp_path / "a.csv", [1]))
    path = write_archive(tmp_path / "b.csv", [1], price="100.50000000", qty="2", maker="true")
    path.write_text(path.read_text().replace("1639474150001", "1639474150001777"))

    assert home.replay(path).counts["conflicts"] == 0
