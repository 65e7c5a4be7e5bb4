"""Reverts, cherry-picks, hard resets, transactions."""

from __future__ import annotations

import lakefs
import pytest
from lakefs.client import Client
from lakefs.exceptions import BadRequestException, ConflictException

from tests.contract.test_history import CommitFile, paths, read
from tests.contract.test_repositories import message_of


def test_revert_a_commit_in_the_middle(main: lakefs.Branch, commit_file: CommitFile) -> None:
    commit_file(path="f", body="1")
    middle = commit_file(path="g", body="1")
    commit_file(path="h", body="1")
    head = main.head.id
    commit = main.revert(middle)
    assert commit.parents == [head]
    assert commit.message == f"Revert {middle}"
    assert paths(main) == ["f", "h"]


def test_revert_conflict(main: lakefs.Branch, commit_file: CommitFile) -> None:
    commit_file(path="f", body="1")
    second = commit_file(path="f", body="2")
    commit_file(path="f", body="3")
    with pytest.raises(ConflictException):
        main.revert(second)
    assert read(main, "f") == b"3"


def test_revert_merge_needs_parent(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    commit_file(path="base")
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="theirs")
    commit_file(main, path="ours")
    merged = dev.merge_into("main")
    with pytest.raises(ConflictException) as error:
        main.revert(merged)
    assert message_of(error) == "must specify 1-based parent number for reverting merge commit"
    main.revert(merged, parent_number=1)
    assert paths(main) == ["base", "ours"]
    with pytest.raises(BadRequestException):
        main.revert(merged, parent_number=3)


def test_cherry_pick(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="one")
    dev.object("two").upload(b"2")
    picked = dev.commit("the second", metadata={"k": "v"})
    commit = main.cherry_pick(picked)
    assert paths(main) == ["two"]
    assert commit.message == "the second"
    assert commit.metadata["k"] == "v"
    assert commit.metadata["cherry-pick-origin"] == picked.id


def test_cherry_pick_merge_needs_parent(main: lakefs.Branch, repo: lakefs.Repository, commit_file: CommitFile) -> None:
    dev = repo.branch("dev").create("main")
    other = repo.branch("other").create("main")
    commit_file(dev, path="theirs")
    commit_file(main, path="ours")
    merged = dev.merge_into("main")
    with pytest.raises(BadRequestException):
        other.cherry_pick(merged)
    other.cherry_pick(merged, parent_number=1)
    assert paths(other) == ["theirs"]


def test_hard_reset(main: lakefs.Branch, repo: lakefs.Repository, client: Client, commit_file: CommitFile) -> None:
    first = commit_file(path="a")
    commit_file(path="b")
    client.sdk_client.experimental_api.hard_reset_branch(repo.id, "main", first)
    assert (main.head.id, paths(main)) == (first, ["a"])


def test_transaction(main: lakefs.Branch, repo: lakefs.Repository) -> None:
    with main.transact(commit_message="tx", commit_metadata={"n": "1"}) as tx:
        tx.object("in-tx").upload(b"1")
        assert paths(main) == []
    assert paths(main) == ["in-tx"]
    assert [branch.id for branch in repo.branches()] == ["main"]


def test_transaction_leaves_nothing_on_error(main: lakefs.Branch, repo: lakefs.Repository) -> None:
    def fail() -> None:
        with main.transact(commit_message="tx") as tx:
            tx.object("in-tx").upload(b"1")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError):
        fail()
    assert paths(main) == []
    assert [branch.id for branch in repo.branches()] == ["main"]
