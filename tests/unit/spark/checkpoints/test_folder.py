from __future__ import annotations

from pathlib import Path

from spark.checkpoints.folder import records_of
from tests.unit.spark.checkpoints.checkpoint_folders import TOPIC, offsets_text


def test_a_planned_batch_spans_the_offsets_since_the_one_before(tmp_path: Path) -> None:
    for folder in ("offsets", "sources/0"):
        (tmp_path / folder).mkdir(parents=True)
    first = offsets_text({0: 5, 1: 0}).splitlines()
    (tmp_path / "sources" / "0" / "0").write_bytes(b"\0" + "\n".join((first[0], first[2])).encode())
    (tmp_path / "offsets" / "0").write_text(offsets_text({0: 15, 1: 7}))
    (tmp_path / "offsets" / "1").write_text(offsets_text({0: 15, 1: 9, 2: 4}))
    assert [records_of(tmp_path, TOPIC, batch) for batch in (0, 1)] == [17, 2]
    (tmp_path / "offsets" / "0").write_text("")
    assert [records_of(tmp_path, TOPIC, batch) for batch in (0, 1, 2)] == [0, 0, 0]
