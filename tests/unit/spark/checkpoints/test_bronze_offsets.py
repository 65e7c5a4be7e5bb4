"""Which offsets of which topic the manifests of bronze cover."""

from __future__ import annotations

from typing import Any

from spark.checkpoints.bronze_offsets import bronze_offsets
from spark.checkpoints.start_offsets import merged, next_generation, subtract
from tests.unit.spark.checkpoints.checkpoint_folders import TOPIC_ID, topic

NOW = topic((0, 100), (0, 100))


def manifest(first: int, until: int, **more: Any) -> dict[str, Any]:
    return {"v": 1, "topic": "crypto.trades", "ranges": {"0": [first, until]}, "rows": 0, "files": [], **more}


def test_ranges_of_all_batches_are_merged() -> None:
    held = bronze_offsets([manifest(10, 20), manifest(0, 10), manifest(40, 50), manifest(45, 60)], NOW, None)

    assert held.ranges == {0: [(0, 20), (40, 60)]}
    assert held.generation == ""


def test_only_the_topic_s_own_generation_counts() -> None:
    old, new = manifest(0, 90, topic_id="other"), manifest(0, 5, topic_id=TOPIC_ID, generation="ab12cd34")

    held = bronze_offsets([old, new], NOW, None)

    assert (held.ranges, held.generation) == ({0: [(0, 5)]}, "ab12cd34")
    assert bronze_offsets([old, new], NOW, "").ranges == {0: [(0, 90)]}


def test_a_lake_with_only_other_topics_starts_a_new_generation() -> None:
    for old in (manifest(0, 90, topic_id="other"), manifest(0, 101)):
        held = bronze_offsets([old], NOW, None)

        assert held.ranges == {}
        assert held.generation == next_generation(TOPIC_ID, "")


def test_each_generation_of_one_topic_has_a_name_of_its_own() -> None:
    first = next_generation(TOPIC_ID, "")
    second = next_generation(TOPIC_ID, first)
    third = next_generation(TOPIC_ID, second)

    assert len({first, second, third}) == 3
    assert bronze_offsets(
        [manifest(0, number, topic_id=TOPIC_ID, generation=name) for number, name in enumerate((first, second), 1)],
        NOW, None,
    ).ranges == {0: [(0, 2)]}  # fmt: skip


def test_subtracting_and_merging_ranges() -> None:
    assert subtract((0, 10), [(2, 3), (5, 20)]) == [(0, 2), (3, 5)]
    assert subtract((4, 6), [(0, 5)]) == [(5, 6)]
    assert subtract((5, 5), []) == []
    assert merged([(5, 7), (0, 5), (9, 9)]) == [(0, 7), (9, 9)]
