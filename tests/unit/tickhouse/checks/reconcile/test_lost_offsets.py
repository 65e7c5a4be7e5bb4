"""Losses that the driver recorded, as the checker reads them."""

from __future__ import annotations

from pathlib import Path

from spark.checkpoints import lost_offsets
from spark.checkpoints.lost_offsets import LostOffsets
from tickhouse.checks.reconcile.lost_offsets import unrepaired

LOST = LostOffsets("candles", "crypto.trades", "id", 0, 60, 100, "offsets_expired", 1)
OPEN_END = LostOffsets("last", "crypto.trades", "id", 1, 7, None, "topic_recreated", 1)


def test_the_checker_reads_what_the_driver_records(tmp_path: Path) -> None:
    stream = tmp_path / "stream"
    assert unrepaired(tmp_path) == {}

    lost_offsets.record(stream, [LOST, OPEN_END])
    told = unrepaired(tmp_path)
    lost_offsets.resolve(stream, [LOST], {"resent": 40}, 2)

    assert told == {
        "candles": ["crypto.trades-0@60..100 (offsets_expired)"],
        "last": ["crypto.trades-1@7..? (topic_recreated)"],
    }
    assert list(unrepaired(tmp_path)) == ["last"]
    assert lost_offsets.unresolved(stream) == [OPEN_END]


def test_a_cut_off_line_does_not_hide_other_lines(tmp_path: Path) -> None:
    stream = tmp_path / "stream"
    lost_offsets.record(stream, [LOST])
    with (stream / lost_offsets.FILE).open("a") as file:
        file.write('{"v": 1, "lost": "la')

    assert lost_offsets.record(stream, [LOST, OPEN_END]) == [OPEN_END]  # found again, recorded again
    assert lost_offsets.unresolved(stream) == [LOST, OPEN_END]
    assert set(unrepaired(tmp_path)) == {"candles", "last"}
