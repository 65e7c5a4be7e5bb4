"""Trees, compared with a dict: the same keys in the same order for any keys."""

from __future__ import annotations

import hashlib
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from standins.lakefs.git_store import BLOB
from standins.lakefs.model import Core, ReferenceView
from standins.lakefs.objects import LakeObjects
from standins.lakefs.references import References
from standins.lakefs.tree_objects import parse, serialize

# Few letters and many slashes: names that are both file and folder, empty names, and characters
# that sort next to "/".
KEYS = st.text(alphabet="ab/-.0é\U0001f680", min_size=1, max_size=8)
KEY_SETS = st.sets(KEYS, max_size=25)
DELIMITERS = st.sampled_from(["", "/", "/", "a", "b/"])


def pointer(key: str, version: int = 0) -> bytes:
    return hashlib.sha1(f"{key} {version}".encode(), usedforsecurity=False).digest()


def build(core: Core, keys: set[str], version: int = 0) -> bytes:
    return core.trees.apply(core.trees.empty(), {key: pointer(key, version) for key in keys})


@settings(max_examples=150, deadline=None)
@given(keys=KEY_SETS, prefix=st.text(alphabet="ab/-", max_size=3), after=st.text(alphabet="ab/-0", max_size=4))
def test_walk_is_a_sorted_dict(core: Core, keys: set[str], prefix: str, after: str) -> None:
    with core.git.batch():
        root = build(core, keys)
        walked = list(core.trees.walk(root, prefix, after))
        expected = sorted(key for key in keys if key.startswith(prefix) and key > after)
        assert walked == [(key, pointer(key)) for key in expected]
        for key in keys | {"nope", "a/", "a"}:
            assert core.trees.get(root, key) == (pointer(key) if key in keys else None)


@settings(max_examples=150, deadline=None)
@given(keys=KEY_SETS, removed=KEY_SETS, changed=KEY_SETS)
def test_edits_are_dict_edits_and_the_tree_is_canonical(
    core: Core, keys: set[str], removed: set[str], changed: set[str]
) -> None:
    with core.git.batch():
        root = build(core, keys)
        edits: dict[str, bytes | None] = {key: pointer(key, 1) for key in changed}
        edits.update(dict.fromkeys(removed))
        edited = core.trees.apply(root, edits)
        model = {key: pointer(key) for key in keys} | {key: pointer(key, 1) for key in changed}
        for key in removed:
            model.pop(key, None)
        assert dict(core.trees.walk(edited)) == model
        assert edited == core.trees.apply(core.trees.empty(), dict(model)), "one content, one tree"


@settings(max_examples=150, deadline=None)
@given(left=KEY_SETS, right=KEY_SETS, changed=KEY_SETS)
def test_diff_is_a_dict_diff(core: Core, left: set[str], right: set[str], changed: set[str]) -> None:
    with core.git.batch():
        old = {key: pointer(key) for key in left}
        new = {key: pointer(key, int(key in changed)) for key in right}
        one, two = (core.trees.apply(core.trees.empty(), dict(model)) for model in (old, new))
        expected = [(key, old.get(key), new.get(key)) for key in sorted(left | right) if old.get(key) != new.get(key)]
        assert [tuple(change) for change in core.trees.diff(one, two)] == expected


@settings(max_examples=150, deadline=None)
@given(keys=KEY_SETS, prefix=st.text(alphabet="ab/", max_size=2), delimiter=DELIMITERS, amount=st.integers(1, 4))
def test_pages_of_a_listing_join_to_the_whole(
    core: Core, keys: set[str], prefix: str, delimiter: str, amount: int
) -> None:
    """Each page starts after the last row of the one before, be it an object or a common prefix."""
    objects = LakeObjects(core, References(core))
    expected: list[str] = []
    for key in sorted(key for key in keys if key.startswith(prefix)):
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        row = key if at < 0 else key[: at + len(delimiter)]
        if row not in expected:
            expected.append(row)
    with core.git.batch():
        view = ReferenceView(build(core, keys))
        seen: list[str] = []
        while page := list(objects._rows(view, prefix, seen[-1] if seen else "", delimiter, amount)):
            assert len(page) <= amount
            seen += [path for path, _ in page]
            assert len(seen) <= len(expected)
    assert seen == expected


@given(
    st.dictionaries(
        st.text(alphabet=string.ascii_letters, max_size=5).map(lambda name: b"f" + name.encode()),
        st.binary(min_size=20, max_size=20),
    )
)
def test_raw_trees_round_trip(entries: dict[bytes, bytes]) -> None:
    assert parse(serialize(entries)) == entries


def test_a_dropped_batch_leaves_nothing(core: Core) -> None:
    with core.git.batch():
        dropped = build(core, {"only/in/a/dropped/batch"})
    with core.git.batch() as pending:
        again = build(core, {"only/in/a/dropped/batch"})
        assert again == dropped
        with core.database.write() as connection:
            core.git.flush(connection, pending)
    assert [key for key, _ in core.trees.walk(again)] == ["only/in/a/dropped/batch"]
    assert core.database.reader().execute("SELECT count(*) FROM objects WHERE type = ?", (BLOB,)).fetchone() == (0,)
