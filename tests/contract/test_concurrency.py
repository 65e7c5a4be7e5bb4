"""Concurrent clients: no lost update, no inconsistent view, one winner of exclusive operations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import lakefs
from botocore.exceptions import ClientError
from lakefs.client import Client
from lakefs.exceptions import BadRequestException, LakeFSException, ObjectExistsException, ServerException

from tests.contract.conftest import make_client, make_s3
from tests.contract.server import Endpoint

T = TypeVar("T")


def patiently(call: Callable[[], T]) -> T:
    """Retry while the real server refuses a simultaneous commit.

    The stand-in lets one commit wait for the other.
    """
    for _ in range(20):
        try:
            return call()
        except ServerException as error:
            if "predicate failed" not in str(error):
                raise
    return call()


def test_merges_into_one_branch(repo: lakefs.Repository, main: lakefs.Branch, endpoint: Endpoint) -> None:
    count = 8
    for number in range(count):
        branch = repo.branch(f"b{number}").create("main")
        branch.object(f"f{number}").upload(b"1")
        branch.commit(f"c{number}")
    start = threading.Barrier(count)

    def merge(number: int) -> str:
        client = make_client(endpoint)
        start.wait(30)
        reference: str = lakefs.Repository(repo.id, client=client).branch(f"b{number}").merge_into("main")
        return reference

    with ThreadPoolExecutor(count) as pool:
        merged = list(pool.map(merge, range(count)))
    assert len(set(merged)) == count
    assert [row.path for row in main.objects()] == [f"f{number}" for number in range(count)]
    assert set(merged) <= {commit.id for commit in main.log()}


def test_commits_to_one_branch(repo: lakefs.Repository, main: lakefs.Branch, endpoint: Endpoint) -> None:
    """Two clients write to and commit one branch; each write is in exactly one commit."""
    rounds = 10

    def work(worker: int) -> list[str]:
        branch = lakefs.Repository(repo.id, client=make_client(endpoint)).branch("main")
        ids = []
        for number in range(rounds):
            branch.object(f"w{worker}/{number}").upload(f"{worker} {number}".encode())
            try:
                ids.append(patiently(lambda: branch.commit(f"{worker} {number}").id))  # noqa: B023  # called here
            except BadRequestException:
                # The commit of the other worker included this write.
                continue
        return ids

    with ThreadPoolExecutor(2) as pool:
        ids = [one for worker in pool.map(work, range(2)) for one in worker]
    assert list(main.uncommitted()) == []
    log = list(main.log())
    assert [commit.id for commit in log[:-1]] == sorted(ids, key=[c.id for c in log].index)
    added = [change.path for commit in log[:-1] for change in repo.ref(commit.parents[0]).diff(commit.id)]
    assert sorted(added) == sorted(f"w{worker}/{number}" for worker in range(2) for number in range(rounds))


def test_writes_during_commits_are_never_lost(repo: lakefs.Repository, main: lakefs.Branch, endpoint: Endpoint) -> None:
    """Overwrites of one key race with commits; the branch shows the last confirmed write."""
    stop = threading.Event()

    def commit() -> None:
        branch = lakefs.Repository(repo.id, client=make_client(endpoint)).branch("main")
        while not stop.is_set():
            try:
                patiently(lambda: branch.commit("racing"))
            except BadRequestException:
                continue

    thread = threading.Thread(target=commit)
    thread.start()
    s3 = make_s3(endpoint)
    try:
        for number in range(150):
            s3.put_object(Bucket=repo.id, Key="main/key", Body=str(number).encode())
            if number % 3 == 0:
                s3.delete_object(Bucket=repo.id, Key="main/key")
                listed = s3.list_objects_v2(Bucket=repo.id, Prefix="main/")
                assert listed["KeyCount"] == 0, f"deleted key is listed after write {number}"
            else:
                body = s3.get_object(Bucket=repo.id, Key="main/key")["Body"].read()
                assert body == str(number).encode()
                assert s3.list_objects_v2(Bucket=repo.id, Prefix="main/")["KeyCount"] == 1
    finally:
        stop.set()
        thread.join(60)
    assert main.object("key").reader().read() == b"149"


def test_exclusive_create_has_one_winner(repo: lakefs.Repository, main: lakefs.Branch, endpoint: Endpoint) -> None:
    count = 8
    start = threading.Barrier(count)

    def create(number: int) -> bool:
        s3 = make_s3(endpoint)
        branch = lakefs.Repository(repo.id, client=make_client(endpoint)).branch("main")
        start.wait(30)
        try:
            if number % 2:
                s3.put_object(Bucket=repo.id, Key="main/lease", Body=str(number).encode(), IfNoneMatch="*")
            else:
                branch.object("lease").upload(str(number).encode(), mode="xb")
        except (ClientError, ObjectExistsException):
            return False
        return True

    with ThreadPoolExecutor(count) as pool:
        won = list(pool.map(create, range(count)))
    assert won.count(True) == 1
    assert main.object("lease").reader().read() == str(won.index(True)).encode()


def test_branch_created_once(repo: lakefs.Repository, endpoint: Endpoint) -> None:
    start = threading.Barrier(6)

    def create(_: int) -> bool:
        client: Client = make_client(endpoint)
        start.wait(30)
        try:
            lakefs.Repository(repo.id, client=client).branch("one").create("main")
        except LakeFSException:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(create, range(6))).count(True) == 1


def test_parts_in_parallel(repo: lakefs.Repository, endpoint: Endpoint) -> None:
    s3 = make_s3(endpoint, max_pool_connections=8)
    target: dict[str, Any] = {"Bucket": repo.id, "Key": "main/mp"}
    target["UploadId"] = s3.create_multipart_upload(**target)["UploadId"]
    size = 1 << 20

    def upload(number: int) -> dict[str, Any]:
        answer = s3.upload_part(**target, PartNumber=number, Body=bytes([number]) * (5 * size))
        return {"PartNumber": number, "ETag": answer["ETag"]}

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(upload, range(1, 7)))
    s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    body = s3.get_object(Bucket=repo.id, Key="main/mp")["Body"].read()
    assert body == b"".join(bytes([n]) * (5 * size) for n in range(1, 7))
