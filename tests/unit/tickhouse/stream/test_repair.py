"""The decisions of a repair: which queries, which ranges, and whether the lake lacks anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigurationError
from common.settings import Settings
from spark.checkpoints.lost_offsets import LostOffsets
from tests.unit.spark.checkpoints.checkpoint_folders import TOPIC_ID, topic
from tickhouse.stream.repair import _lacks_lost_offsets, _merge_overlaps, _select_queries

NOW = topic((100, 200), (0, 200))


def lost(first: int, until: int | None, query: str = "candles", part: int = 0, topic_id: str = TOPIC_ID) -> LostOffsets:
    return LostOffsets(query, "crypto.trades", topic_id, part, first, until, "offsets_expired", 0)


def manifest(first: int, until: int, **more: Any) -> dict[str, Any]:
    return {"topic": "crypto.trades", "ranges": {"0": [first, until]}, "files": [], **more}


def test_what_several_queries_lost_is_sent_once() -> None:
    found = _merge_overlaps([lost(60, 90, "last"), lost(50, 70), lost(95, 100, "enriched"), lost(5, 6, part=1)])

    assert [(one.partition, one.first, one.until) for one in found] == [(0, 50, 90), (0, 95, 100), (1, 5, 6)]
    assert [(one.first, one.until) for one in _merge_overlaps([lost(60, 90), lost(80, None), lost(500, 600)])] == [
        (60, None)
    ]
    assert len(_merge_overlaps([lost(0, 10), lost(0, 10, topic_id="other")])) == 2


@pytest.mark.parametrize(
    ("manifests", "is_lacking"),
    [
        ([manifest(0, 100)], False),
        ([manifest(0, 70), manifest(70, 120, topic_id=TOPIC_ID, generation="a")], False),
        ([manifest(0, 70), manifest(71, 120)], True),
        ([manifest(0, 100, topic_id="other")], True),
        ([], True),
    ],
    ids=["whole", "in two generations", "one offset missing", "another topic's", "empty lake"],
)
def test_gaps_are_searched_only_when_the_lake_lacks_something(
    manifests: list[dict[str, Any]], is_lacking: bool
) -> None:
    assert _lacks_lost_offsets(manifests, NOW, [lost(60, 100)]) is is_lacking
    assert _lacks_lost_offsets(manifests, NOW, [lost(60, None)])


def test_queries_are_named_or_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    settings = Settings()

    assert [one.name for one in _select_queries(settings, ["lake_ticks"], from_beginning=True)] == ["lake_ticks"]
    assert len(_select_queries(settings, [], from_beginning=False)) == 5
    for names, from_beginning in ((["nothing"], False), ([], True)):
        with pytest.raises(ConfigurationError):
            _select_queries(settings, names, from_beginning=from_beginning)
