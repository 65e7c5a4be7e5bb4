"""Commits, log, diffs, merges."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import lakefs
import lakefs_sdk
import pytest
from lakefs.client import Client
from lakefs.exceptions import BadRequestException, ConflictException, NotFoundException

from tests.contract.server import Endpoint, call_api
from tests.contract.test_repositories import message_of

CommitFile = Callable[..., str]


def paths(branch: lakefs.Reference) -> list[str]:
    return [row.path for row in branch.objects()]


def read(branch: lakefs.Reference, path: str) -> bytes:
    content: bytes = branch.object(path).reader().read()
    return content


# -- commit ----------------------------------------------------------------------------------------


def test_commit(main: lakefs.Branch) -> None:
    before = main.head.id
    main.object("f").upload(b"1")
    commit = main.commit(
        "a message\nof two lines", metadata={"kafka_offsets": '{"0": [1, 2]}', "ünï": "çödé"}
    ).get_commit()
    assert re.fullmatch("[0-9a-f]{64}", commit.id)
    assert commit.parents == [before]
    assert commit.message == "a message\nof two lines"
    assert commit.metadata == {"kafka_offsets": '{"0": [1, 2]}', "ünï": "çödé"}
    assert main.head.id == commit.id
    assert list(main.uncommitted()) == []


def test_commit_without_changes(main: lakefs.Branch) -> None:
    with pytest.raises(BadRequestException) as error:
        main.commit("nothing")
    assert message_of(error) == "commit: no changes"
    before = main.head.id
    commit = main.commit("empty", allow_empty=True).get_commit()
    assert commit.parents == [before]


def test_commit_date_and_missing_branch(main: lakefs.Branch, repo: lakefs.Repository) -> None:
    main.object("f").upload(b"1")
    assert main.commit("dated", date=1_700_000_000).get_commit().creation_date == 1_700_000_000
    with pytest.raises(NotFoundException):
        repo.branch("nope").commit("x")


def test_commits_are_immutable(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    ids = [commit_file(path="f", body=str(number)) for number in range(3)]
    main.object("f").delete()
    assert [read(repo.ref(identity), "f") for identity in ids] == [b"0", b"1", b"2"]
    assert not main.object("f").exists()


def test_log_pages_newest_first(
    main: lakefs.Branch, client: Client, repo: lakefs.Repository, commit_file: CommitFile
) -> None:
    ids = [commit_file() for _ in range(5)]
    assert [commit.id for commit in main.log()][:5] == ids[::-1]
    page = client.sdk_client.refs_api.log_commits(repo.id, "main", amount=2)
    assert [row.id for row in page.results] == [ids[4], ids[3]]
    assert page.pagination.has_more
    page = client.sdk_client.refs_api.log_commits(repo.id, "main", amount=100, after=page.pagination.next_offset)
    assert [row.id for row in page.results][:3] == [ids[2], ids[1], ids[0]]
    assert not page.pagination.has_more
    assert [commit.id for commit in main.log(max_amount=1)] == [ids[4]]


def test_log_of_paths(main: lakefs.Branch, client: Client, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    first = commit_file(path="a/1")
    commit_file(path="b/1")
    third = commit_file(path="a/2")
    api = client.sdk_client.refs_api
    assert [row.id for row in api.log_commits(repo.id, "main", prefixes=["a/"]).results] == [third, first]
    assert [row.id for row in api.log_commits(repo.id, "main", objects=["a/1"]).results] == [first]


def test_merge_commits_and_first_parent(
    main: lakefs.Branch, client: Client, repo: lakefs.Repository, commit_file: CommitFile
) -> None:
    dev = repo.branch("dev").create("main")
    theirs = commit_file(dev)
    ours = commit_file(main)
    merged = dev.merge_into("main")
    commit = repo.ref(merged).get_commit()
    assert commit.parents == [ours, theirs]
    assert commit.message == "Merge 'dev' into 'main'"
    assert {row.id for row in main.log()} >= {merged, ours, theirs}
    first = client.sdk_client.refs_api.log_commits(repo.id, "main", first_parent=True)
    assert theirs not in [row.id for row in first.results]


# -- diff ------------------------------------------------------------------------------------------


def test_diff_two_and_three_dot(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    commit_file(path="both", body="base")
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="theirs")
    commit_file(dev, path="both", body="theirs")
    commit_file(main, path="ours")
    three = [(row.type, row.path) for row in main.diff(dev)]
    assert three == [("changed", "both"), ("added", "theirs")]
    two = [(row.type, row.path) for row in main.diff(dev, type="two_dot")]
    assert two == [("changed", "both"), ("removed", "ours"), ("added", "theirs")]
    commit_file(main, path="both", body="ours")
    assert [(row.type, row.path) for row in main.diff(dev)] == [("conflict", "both"), ("added", "theirs")]


def test_diff_prefix_delimiter_pages(main: lakefs.Branch, repo: lakefs.Repository, client: Client) -> None:
    dev = repo.branch("dev").create("main")
    for key in ("a/1", "a/2", "b/1", "c"):
        dev.object(key).upload(b"1")
    dev.commit("four")
    assert [row.path for row in main.diff(dev, prefix="a/")] == ["a/1", "a/2"]
    grouped = [(row.path, row.path_type) for row in main.diff(dev, delimiter="/")]
    assert grouped == [("a/", "common_prefix"), ("b/", "common_prefix"), ("c", "object")]
    page = client.sdk_client.refs_api.diff_refs(repo.id, "main", "dev", amount=3)
    assert [row.path for row in page.results] == ["a/1", "a/2", "b/1"]
    rest = client.sdk_client.refs_api.diff_refs(repo.id, "main", "dev", after=page.pagination.next_offset)
    assert [row.path for row in rest.results] == ["c"]
    assert [row.size_bytes for row in rest.results] == [1]


# -- merge -----------------------------------------------------------------------------------------


def test_merge_brings_changes_and_removals(
    main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile
) -> None:
    commit_file(path="keep")
    commit_file(path="remove")
    commit_file(path="change", body="1")
    dev = repo.branch("dev").create("main")
    dev.object("add/deep/new").upload(b"n")
    dev.object("remove").delete()
    dev.object("change").upload(b"2")
    dev.commit("all three")
    commit_file(main, path="meanwhile")
    dev.merge_into("main")
    assert paths(main) == ["add/deep/new", "change", "keep", "meanwhile"]
    assert read(main, "change") == b"2"


def test_merge_nothing_is_400(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    dev = repo.branch("dev").create("main")
    with pytest.raises(BadRequestException) as error:
        dev.merge_into("main")
    assert message_of(error) == "update branch main: no changes"
    commit_file(dev)
    dev.merge_into("main")
    with pytest.raises(BadRequestException):
        dev.merge_into("main")


def test_merge_ignores_uncommitted_source(
    main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile
) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="committed")
    dev.object("uncommitted").upload(b"1")
    dev.merge_into("main")
    assert paths(main) == ["committed"]


def test_merge_and_revert_refuse_dirty_destination(
    main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile
) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev)
    mine = commit_file(main)
    main.object("dirt").upload(b"1")
    with pytest.raises(BadRequestException) as merge:
        dev.merge_into("main")
    assert "uncommitted changes (dirty branch)" in message_of(merge)
    with pytest.raises(BadRequestException) as revert:
        main.revert(mine)
    assert "uncommitted changes (dirty branch)" in message_of(revert)
    main.reset_changes()
    dev.merge_into("main")


def test_merge_conflict(
    main: lakefs.Branch, repo: lakefs.Repository, endpoint: Endpoint, commit_file: CommitFile
) -> None:
    commit_file(path="f", body="base")
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="f", body="theirs")
    head = commit_file(main, path="f", body="ours")
    with pytest.raises(ConflictException):
        dev.merge_into("main")
    status, body, _ = call_api(endpoint, "POST", f"/repositories/{repo.id}/refs/dev/merge/main", {})
    assert (status, body) == (409, {"reference": ""})
    assert main.head.id == head
    assert read(main, "f") == b"ours"


@pytest.mark.parametrize(("strategy", "winner"), [("source-wins", b"theirs"), ("dest-wins", b"ours")])
def test_merge_strategies(
    main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile, strategy: str, winner: bytes
) -> None:
    commit_file(path="f", body="base")
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="f", body="theirs")
    commit_file(dev, path="only-theirs")
    commit_file(main, path="f", body="ours")
    dev.merge_into("main", strategy=strategy)
    assert read(main, "f") == winner
    assert main.object("only-theirs").exists()


def test_delete_against_change_conflicts(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    commit_file(path="f", body="base")
    dev = repo.branch("dev").create("main")
    dev.object("f").delete()
    dev.commit("removed")
    commit_file(main, path="f", body="ours")
    with pytest.raises(ConflictException):
        dev.merge_into("main")
    dev.merge_into("main", strategy="source-wins")
    assert paths(main) == []


def test_unknown_strategy_is_400(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev)
    with pytest.raises(BadRequestException) as error:
        dev.merge_into("main", strategy="coin-toss")
    assert message_of(error) == "argument strategy: invalid value: validation error"


def test_same_change_on_both_sides_merges(
    main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile
) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="f", body="same")
    commit_file(main, path="f", body="same")
    before = main.head.id
    merged = dev.merge_into("main")
    assert merged != before
    assert len(repo.ref(merged).get_commit().parents) == 2
    assert read(main, "f") == b"same"


def test_squash_merge(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="f")
    head = main.head.id
    merged = dev.merge_into("main", squash_merge=True, message="squashed", metadata={"run": "7"})
    commit = repo.ref(merged).get_commit()
    assert (commit.parents, commit.message, commit.metadata["run"]) == ([head], "squashed", "7")
    assert paths(main) == ["f"]


def test_merge_from_commit_and_tag(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    dev = repo.branch("dev").create("main")
    first = commit_file(dev, path="one")
    commit_file(dev, path="two")
    repo.ref(first).merge_into("main")
    assert paths(main) == ["one"]
    repo.tag("t").create("dev").merge_into("main")
    assert paths(main) == ["one", "two"]


def test_merge_again_after_merge(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="f", body="1")
    dev.merge_into("main")
    commit_file(main, path="g")
    commit_file(dev, path="f", body="2")
    dev.merge_into("main")
    assert (read(main, "f"), paths(main)) == (b"2", ["f", "g"])


def test_find_merge_base(main: lakefs.Branch, repo: lakefs.Repository, client: Client, commit_file: CommitFile) -> None:
    base = commit_file()
    dev = repo.branch("dev").create("main")
    theirs = commit_file(dev)
    ours = commit_file(main)
    found = client.sdk_client.refs_api.find_merge_base(repo.id, "dev", "main")
    # The real server swaps the names of source and destination.
    assert (found.source_commit_id, found.destination_commit_id, found.base_commit_id) == (ours, theirs, base)


def test_responses_fit_the_published_models(
    endpoint: Endpoint, repo: lakefs.Repository, commit_file: CommitFile
) -> None:
    """Every field of the responses exists in the published model of lakeFS."""
    commit_file(path="dir/f")
    commit_file(path="dir/g")
    base = f"/repositories/{repo.id}"
    checks: list[tuple[str, Any]] = [
        ("/config", lakefs_sdk.Config),
        ("/repositories", lakefs_sdk.RepositoryList),
        (base, lakefs_sdk.Repository),
        (f"{base}/branches", lakefs_sdk.RefList),
        (f"{base}/branches/main", lakefs_sdk.Ref),
        (f"{base}/branches/main/diff", lakefs_sdk.DiffList),
        (f"{base}/tags", lakefs_sdk.RefList),
        (f"{base}/commits/main", lakefs_sdk.Commit),
        (f"{base}/refs/main/commits", lakefs_sdk.CommitList),
        (f"{base}/refs/main~1/diff/main", lakefs_sdk.DiffList),
        (f"{base}/refs/main/objects/stat?path=dir/f", lakefs_sdk.ObjectStats),
        (f"{base}/refs/main/objects/ls", lakefs_sdk.ObjectStatsList),
        (f"{base}/refs/main/objects/ls?delimiter=/", lakefs_sdk.ObjectStatsList),
        (f"{base}/actions/runs", lakefs_sdk.ActionRunList),
        ("/user", lakefs_sdk.CurrentUser),
    ]
    for path, model in checks:
        status, body, _ = call_api(endpoint, "GET", path)
        assert status == 200, path
        parsed = model.from_dict(body)
        assert set(body) <= set(model.__fields__) | {field.alias for field in model.__fields__.values()}, path
        assert parsed.to_dict().keys() >= body.keys(), path
