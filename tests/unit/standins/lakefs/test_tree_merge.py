"""Three-way merges, compared with the rule for one path."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins.lakefs.api_errors import MergeConflict
from standins.lakefs.entries import Entry
from standins.lakefs.git_store import BLOB
from standins.lakefs.model import Core
from standins.lakefs.objects import LakeObjects
from standins.lakefs.references import References
from standins.lakefs.tree_merge import three_way

# Path to content. Each side has another address, so equal content never has equal pointers.
SIDES = st.dictionaries(st.sampled_from(["a", "a/b", "a/c", "d/e/f", "g"]), st.integers(0, 2), max_size=5)


def write_tree(core: Core, side: str, contents: dict[str, int]) -> bytes:
    edits: dict[str, bytes | None] = {}
    for path, content in contents.items():
        data = Entry(f"local://x/data/{side}/{path}", 1, f"md5-{content}", 0).dump()
        edits[path] = core.git.write(BLOB, data)
    return core.trees.apply(core.trees.empty(), edits)


def merged(base: int | None, source: int | None, destination: int | None, strategy: str) -> int | None:
    """Return the merged content of one path.

    Raises:
        MergeConflict: Both changed it differently and no strategy decides.
    """
    if source in (base, destination):
        return destination
    if destination == base or strategy == "source-wins":
        return source
    if strategy == "dest-wins":
        return destination
    raise MergeConflict([])


@pytest.mark.parametrize("strategy", ["", "source-wins", "dest-wins"])
@settings(max_examples=150, deadline=None)
@given(base=SIDES, source=SIDES, destination=SIDES)
def test_three_way(
    core: Core, strategy: str, base: dict[str, int], source: dict[str, int], destination: dict[str, int]
) -> None:
    objects = LakeObjects(core, References(core))
    expected: dict[str, int] | None = {}
    for path in sorted({*base, *source, *destination}):
        try:
            content = merged(base.get(path), source.get(path), destination.get(path), strategy)
        except MergeConflict:
            expected = None
            break
        if content is not None and expected is not None:
            expected[path] = content
    with core.git.batch() as pending:
        trees = {name: write_tree(core, name, side) for name, side in (("b", base), ("s", source), ("d", destination))}
        with core.database.write() as connection:
            core.git.flush(connection, pending)
        result = three_way(core, objects, base=trees["b"], source=trees["s"], destination=trees["d"], strategy=strategy)
        if expected is None:
            with pytest.raises(MergeConflict):
                result.tree(core, trees["d"])
            return
        tree = result.tree(core, trees["d"])
        contents = {path: int(objects.entry(found).checksum[4:]) for path, found in core.trees.walk(tree)}
    assert contents == expected
