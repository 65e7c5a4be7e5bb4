"""Commits of `ingest` on a running lake: each manifest is named by exactly one commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date

import pytest
from lakefs import Branch

from common.clients.lake_files import RefFiles
from common.clients.lake_manifest_paths import placement, pointer_body
from common.clients.lake_manifests import read_manifests
from common.clients.lake_objects import RefObjects
from common.clients.lakefs import INGEST, repository
from common.days import Days
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings
from tests.conftest import Stack
from tests.homes import own_home
from tickhouse.dag_tasks.nightly import publication
from tickhouse.ingest.visibility import BronzeProbe, ExpectedRecords
from tickhouse.lake import ingest_commit as lake_commit
from tickhouse.lake import manifest_migration
from tickhouse.lake.bronze_removal import remove_day
from tickhouse.lake.ingest_commit import commit_ingest
from tickhouse.lake.offset_coverage import OffsetCoverage

pytestmark = pytest.mark.integration
HOURS = ("date=2024-08-08/hour=23", "date=2024-08-09/hour=00")
THE_9TH = Days(date(2024, 8, 9), date(2024, 8, 9))


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A lake of its own: commits of other tests would be named here."""
    with own_home() as home:
        yield Stack(home).up("lakefs")


def put_manifest(branch: Branch, number: int, *, is_flat: bool = False) -> str:
    """Write the manifest of a batch of two days and its pointer; a flat one has no pointer."""
    files = [{"path": f"bronze/trades/{hour}/{number}.parquet", "rows": 5, "bytes": 1} for hour in HOURS]
    ranges = {"0": [number * 10, number * 10 + 10]}
    document = {"v": 1, "topic": "crypto.trades", "batch_id": number, "ranges": ranges, "rows": 10, "files": files}
    name = f"{number:012d}-abc.json"
    places = placement("trades", name, [str(one["path"]) for one in files])
    path = f"bronze/_manifests/trades/{name}" if is_flat else places.manifest
    if not is_flat:
        branch.object(places.pointers[0]).upload(pointer_body(path).decode(), mode="w")
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

    # A batch that ends between the listing and the commit: the commit holds it, the next one names
    # it.
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


def test_a_long_outage_is_named_in_several_commits_of_bounded_metadata(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_commit, "MOST_NAMED", 5)
    branch = repository(settings).branch(INGEST)
    paths = [put_manifest(branch, number) for number in range(12)]
    late: list[str] = []
    committing = lake_commit.metadata_of

    def dies_after_the_first(summary: lake_commit.LakeCommit, left: int = 0) -> dict[str, str]:
        if late:
            raise ConnectionError("kill -9")
        late.append(put_manifest(branch, 99))  # written between listing and commit
        return committing(summary, left)

    monkeypatch.setattr(lake_commit, "metadata_of", dies_after_the_first)
    with pytest.raises(ConnectionError):
        commit_ingest(settings)
    monkeypatch.setattr(lake_commit, "metadata_of", committing)
    assert commit_ingest(settings) is not None
    assert commit_ingest(settings) is None

    log = list(repository(settings).ref(INGEST).log())
    named = [json.loads((one.metadata or {}).get("manifests", "[]")) for one in log]
    assert max(map(len, named)) == 5
    assert sorted(path for some in named for path in some) == sorted([*paths, *late])
    assert sum(json.loads((one.metadata or {}).get("rows", "{}")).get("crypto.trades", 0) for one in log) == 130


def test_flat_manifests_move_despite_a_kill_and_are_not_named_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = repository(settings).branch(INGEST)
    flat = [put_manifest(branch, number, is_flat=True) for number in range(6)]
    # As the version before would have committed them, and one batch since.
    metadata = {"manifests": json.dumps(flat), "rows": '{"crypto.trades":60}'}
    branch.commit("Ingest", metadata)
    put_manifest(branch, 6, is_flat=True)

    def dies(*_: object) -> None:
        raise ConnectionError("kill -9")

    with monkeypatch.context() as patched:
        patched.setattr(type(branch), "delete_objects", dies)
        with pytest.raises(ConnectionError):
            manifest_migration.migrate(settings)
    found = read_manifests(RefObjects(branch), "trades", THE_9TH)
    assert (len(found.manifests), found.problems) == (7, ())
    made = commit_ingest(settings)
    assert made is not None
    assert [path.rpartition("/")[2] for path in made.manifests] == ["000000000006-abc.json"]
    assert made.rows == {"crypto.trades": 10}
    assert manifest_migration.migrate(settings) == 0
    assert list(manifest_migration.flat_manifests(RefObjects(branch))) == []
    assert commit_ingest(settings) is None
    for day in (THE_9TH, Days(date(2024, 8, 8), date(2024, 8, 8))):
        assert len(read_manifests(RefObjects(branch), "trades", day).manifests) == 7
        assert len(RefFiles.connect(settings, INGEST).bronze("trades", day).manifests) == 7
    old = repository(settings).ref(f"{INGEST}~1")
    assert len(read_manifests(RefObjects(old), "trades", THE_9TH).manifests) == 6


def test_a_waiting_replay_reads_only_new_commits(settings: Settings) -> None:
    branch = repository(settings).branch(INGEST)
    for number in range(30):
        put_manifest(branch, number)
        if number % 3 == 2:
            commit_ingest(settings)
    waiting = OffsetCoverage(settings, "trades", "crypto.trades", {0: (250, 330)})
    assert min(first for first, _ in waiting.spans()[0]) >= 180, "commits before the wanted offsets are not read"
    put_manifest(branch, 30)
    assert (300, 310) in waiting.spans()[0]
    commit_ingest(settings)
    put_manifest(branch, 31)
    put_manifest(branch, 32)
    assert {(300, 310), (310, 320), (320, 330)} <= set(waiting.spans()[0])
    probe = BronzeProbe(settings, ExpectedRecords("spot", {}, {"crypto.trades": {0: (250, 330)}, "crypto.ticks": {}}))
    assert probe.lacking_offsets() == ""
    ahead = BronzeProbe(settings, ExpectedRecords("spot", {}, {"crypto.trades": {0: (250, 340)}}))
    assert ahead.lacking_offsets() == "10 offsets of crypto.trades-0 are in no manifest yet"


def test_a_stray_object_is_reported_and_stops_no_commit(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    branch = repository(settings).branch(INGEST)
    good = put_manifest(branch, 0)
    folder = good.rpartition("/")[0]
    for path, body in ((f"{folder}/notes.txt", "?"), (f"{folder}/1.json", ""), (f"{folder}/2.json", '{"rows": 1}')):
        branch.object(path).upload(body, mode="w")
    made = commit_ingest(settings)
    assert made is not None
    assert made.manifests == [good]
    told = capsys.readouterr().out
    assert all(f"{folder}/{name}: {kind}" in told for name, kind in
               (("notes.txt", "stray"), ("1.json", "empty"), ("2.json", "broken")))  # fmt: skip
    assert commit_ingest(settings) is None
    bronze = RefFiles.connect(settings, INGEST).bronze("trades", THE_9TH)
    assert {one.kind for one in bronze.problems} == {"stray", "empty", "broken"}
    assert list(bronze.manifests) == [good]


def test_a_bronze_day_is_removed_even_after_a_kill(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = repository(settings).branch(INGEST)
    manifests = [put_manifest(branch, number) for number in range(3)]
    for number in range(3):
        for hour in HOURS:
            branch.object(f"bronze/trades/{hour}/{number}.parquet").upload("rows", mode="w")
    commit_ingest(settings)
    the_8th = date(2024, 8, 8)
    removing, calls = type(branch).delete_objects, list[object]()

    def dies_after_the_first(self: Branch, paths: object) -> None:
        removing(self, paths)
        calls.append(paths)
        raise ConnectionError("kill -9")

    with monkeypatch.context() as patched:
        patched.setattr(type(branch), "delete_objects", dies_after_the_first)
        with pytest.raises(ConnectionError):
            remove_day(settings, the_8th)
    remove_day(settings, the_8th)
    assert remove_day(settings, the_8th) == 0
    objects = RefObjects(branch)
    assert objects.listing("bronze/trades/date=2024-08-08") == []
    assert objects.listing("bronze/_manifests/trades/date=2024-08-08") == []
    # The other day of the same batches is whole.
    assert [one.path for one in read_manifests(objects, "trades", THE_9TH).manifests] == manifests
    assert len(objects.listing("bronze/trades/date=2024-08-09")) == 3
    reader = RefFiles.connect(settings, INGEST)
    assert reader.bronze("trades").forgotten == {the_8th}
    assert "2024-08-08" in objects.children("bronze/_forgotten/trades")[0]
    put_manifest(branch, 9)  # a late trade of the 8th
    commit_ingest(settings)
    with pytest.raises(ConfigurationError, match="removed after it was published"):
        publication.prepare(settings, Days(the_8th, the_8th))
    remove_day(settings, THE_9TH.first)
    assert objects.listing("bronze/_manifests/trades") == []


def test_errors_say_what_to_do(settings: Settings) -> None:
    wrong = settings.model_copy(update={"lakefs_access_key_id": "AKIANOBODY"})
    with pytest.raises(ConfigurationError, match="refused the keys"):
        commit_ingest(wrong)
    away = settings.model_copy(update={"lakefs_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(StoreUnavailable, match="did not answer"):
        commit_ingest(away)
