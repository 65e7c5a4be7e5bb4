"""Commits of `ingest` on the running lake: each manifest is named once, whatever happens around the commit."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lakefs import Branch

from tests.conftest import Stack
from tests.homes import own_home
from tickhouse.errors import ConfigurationError, StoreUnavailable
from tickhouse.lake import commit as lake_commit
from tickhouse.lake.client import INGEST, repository
from tickhouse.lake.commit import commit_ingest
from tickhouse.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A lake of its own: commits of other tests would be named here."""
    with own_home() as home:
        yield Stack(home).up("lakefs")


def put_manifest(branch: Branch, number: int) -> str:
    path = f"bronze/_manifests/trades/{number:012d}-abc.json"
    ranges = {"0": [number * 10, number * 10 + 10]}
    document = {"v": 1, "topic": "crypto.trades", "batch_id": number, "ranges": ranges, "rows": 10, "files": []}
    branch.object(path).upload(json.dumps(document), mode="w")
    return path


def test_each_manifest_is_named_by_exactly_one_commit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = repository(settings).branch(INGEST)
    assert commit_ingest(settings) is None

    first = put_manifest(branch, 0)
    made = commit_ingest(settings)
    assert made is not None
    assert (made.manifests, made.rows) == ([first], {"crypto.trades": 10})
    assert commit_ingest(settings) is None

    # A batch that ends between the listing and the commit: the commit holds it, the next one names it.
    second = put_manifest(branch, 1)
    late: list[str] = []
    listing = lake_commit.summarise

    def listed_then_written(manifests: dict[str, dict[str, object]]) -> lake_commit.LakeCommit:
        late.append(put_manifest(branch, 2))
        return listing(manifests)

    monkeypatch.setattr(lake_commit, "summarise", listed_then_written)
    made = commit_ingest(settings)
    assert made is not None
    assert made.manifests == [second]
    monkeypatch.undo()
    made = commit_ingest(settings)
    assert made is not None
    assert (made.manifests, made.kafka_offsets) == (late, {"crypto.trades": {"0": [20, 30]}})
    assert commit_ingest(settings) is None

    log = list(repository(settings).ref(INGEST).log())
    named = [path for one in log for path in json.loads((one.metadata or {}).get("manifests", "[]"))]
    assert sorted(named) == [first, second, *late]


def test_errors_say_what_to_do(settings: Settings) -> None:
    wrong = settings.model_copy(update={"lakefs_access_key_id": "AKIANOBODY"})
    with pytest.raises(ConfigurationError, match="refused the keys"):
        commit_ingest(wrong)
    away = settings.model_copy(update={"lakefs_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(StoreUnavailable, match="did not answer"):
        commit_ingest(away)
