"""Objects through the lakefs SDK: upload, read, list, delete, copy, reset."""

from __future__ import annotations

import hashlib
from typing import Any

import lakefs
import lakefs_sdk
import pytest
from lakefs.client import Client
from lakefs.exceptions import (
    BadRequestException,
    NotFoundException,
    ObjectExistsException,
    ObjectNotFoundException,
    ServerException,
)

from tests.contract.conftest import new_name
from tests.contract.server import Endpoint, call_api

# Keys that an object store must accept, although a file system or a git tree does not.
ODD_KEYS = [
    "plain.txt",
    "with space/and+plus&amp;%25.txt",
    "ünïcödé/日本語/🚀.parquet",
    "a//double/slash",
    "folder/",
    ".git/config",
    "../up/./dot",
    "quote\"'<>\\|*?",
    "tab\tand\nnewline",
    "=date=2026-11-23/hour=09/part-0.parquet",
    "x" * 900,
    "e\u0301 is not \u00e9",
]


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_odd_keys_survive_a_commit(main: lakefs.Branch, key: str) -> None:
    main.object(key).upload(key.encode())
    assert main.object(key).reader().read() == key.encode()
    assert [row.path for row in main.objects()] == [key]
    main.commit("odd")
    assert main.object(key).stat().path == key
    assert [row.path for row in main.objects()] == [key]
    assert list(main.uncommitted()) == []


def test_file_and_folder_of_one_name(main: lakefs.Branch) -> None:
    for key in ("a", "a/b", "a/b/c", "a-", "a.x"):
        main.object(key).upload(key.encode())
    main.commit("both")
    assert [row.path for row in main.objects()] == ["a", "a-", "a.x", "a/b", "a/b/c"]
    assert [row.path for row in main.objects(delimiter="/")] == ["a", "a-", "a.x", "a/"]
    assert main.object("a").reader().read() == b"a"
    main.object("a/b").delete()
    main.commit("one gone")
    assert [row.path for row in main.objects(prefix="a/")] == ["a/b/c"]


def test_stat(main: lakefs.Branch) -> None:
    body = b"hello"
    main.object("f").upload(body, content_type="text/plain", metadata={"owner": "me", "Mixed": "Case"})
    stat = main.object("f").stat()
    assert (stat.path, stat.size_bytes, stat.content_type) == ("f", 5, "text/plain")
    assert stat.checksum == hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert stat.metadata == {"owner": "me", "mixed": "Case"}
    assert stat.physical_address.startswith("local://") or "://" in stat.physical_address


def test_missing_object(main: lakefs.Branch, repo: lakefs.Repository) -> None:
    with pytest.raises(ObjectNotFoundException) as error:
        main.object("nope").stat()
    assert error.value.body == {}
    with pytest.raises(ObjectNotFoundException):
        main.object("nope").reader().read()
    assert not main.object("nope").exists()
    with pytest.raises(ObjectNotFoundException):
        repo.ref("no-such-ref").object("f").stat()


def test_delete_missing_object_is_no_error(main: lakefs.Branch) -> None:
    main.object("nope").delete()
    assert list(main.uncommitted()) == []


def test_upload_to_missing_branch_is_404(repo: lakefs.Repository) -> None:
    with pytest.raises(NotFoundException):
        repo.branch("nope").object("f").upload(b"1")


def test_upload_without_path_is_400(endpoint: Endpoint, repo: lakefs.Repository) -> None:
    assert call_api(endpoint, "POST", f"/repositories/{repo.id}/branches/main/objects", b"x")[0] == 400


def test_exclusive_create(main: lakefs.Branch, endpoint: Endpoint, repo: lakefs.Repository) -> None:
    main.object("f").upload(b"1", mode="xb")
    with pytest.raises(ObjectExistsException):
        main.object("f").upload(b"2", mode="xb")
    path = f"/repositories/{repo.id}/branches/main/objects?path=f"
    assert call_api(endpoint, "POST", path, b"3", {"If-None-Match": "*"})[0] == 412
    assert main.object("f").reader().read() == b"1"
    main.object("f").delete()
    main.object("f").upload(b"4", mode="xb")
    assert main.object("f").reader().read() == b"4"


def test_empty_object(main: lakefs.Branch) -> None:
    main.object("empty").upload(b"")
    assert main.object("empty").stat().size_bytes == 0
    assert main.object("empty").reader().read() == b""


def test_large_object_through_the_sdk(main: lakefs.Branch) -> None:
    body = bytes(range(256)) * (5 << 12)
    main.object("big").upload(body)
    assert main.object("big").stat().size_bytes == len(body)
    with main.object("big").reader() as reader:
        assert reader.read(10) == body[:10]
        reader.seek(3_000_000)
        assert reader.read(2_000_000) == body[3_000_000:5_000_000]
        reader.seek(-5, 2)
        assert reader.read() == body[-5:]
        assert reader.read() == b""


def test_form_upload_by_the_generated_client(client: Client, repo: lakefs.Repository, tmp_path: Any) -> None:
    source = tmp_path / "form.bin"
    source.write_bytes(b"form body" * 1000)
    api = client.sdk_client.objects_api
    stats = api.upload_object(repo.id, "main", "form", content=str(source))
    assert stats.size_bytes == 9000
    assert bytes(api.get_object(repo.id, "main", "form")) == source.read_bytes()


@pytest.mark.parametrize(
    ("header", "status", "content"),
    [
        ("bytes=0-0", 206, b"0"),
        ("bytes=2-5", 206, b"2345"),
        ("bytes=5-", 206, b"56789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=9-9", 206, b"9"),
        ("bytes=10-", 416, None),
        ("bytes=99-100", 416, None),
        ("bytes=-0", 416, None),
    ],
)
def test_ranges(endpoint: Endpoint, main: lakefs.Branch, header: str, status: int, content: bytes | None) -> None:
    main.object("digits").upload(b"0123456789")
    path = f"/repositories/{main.repo_id}/refs/main/objects?path=digits"
    got, body, headers = call_api(endpoint, "GET", path, headers={"Range": header})
    assert got == status
    if content is not None:
        assert body == content
        start = b"0123456789".index(content)
        assert headers["Content-Range"] == f"bytes {start}-{start + len(content) - 1}/10"


def test_head_object(endpoint: Endpoint, repo: lakefs.Repository, main: lakefs.Branch) -> None:
    main.object("f").upload(b"12345")
    path = f"/repositories/{repo.id}/refs/main/objects?path="
    status, body, headers = call_api(endpoint, "HEAD", f"{path}f")
    assert (status, body, headers["Content-Length"]) == (200, b"", "5")
    assert call_api(endpoint, "HEAD", f"{path}nope")[0] == 404


def test_conditional_get(endpoint: Endpoint, repo: lakefs.Repository, main: lakefs.Branch) -> None:
    main.object("f").upload(b"12345")
    path = f"/repositories/{repo.id}/refs/main/objects?path=f"
    tag = {name.lower(): value for name, value in call_api(endpoint, "GET", path)[2].items()}["etag"]
    assert call_api(endpoint, "GET", path, headers={"If-None-Match": tag})[0] == 304
    assert call_api(endpoint, "GET", path, headers={"If-None-Match": '"other"'})[0] == 200


# -- listing ---------------------------------------------------------------------------------------

TREE = ["a", "b/1", "b/2", "b/c/1", "b0", "d/e/f/g", "z"]


@pytest.fixture
def tree(main: lakefs.Branch) -> lakefs.Branch:
    """Yield a branch with half of TREE committed, half staged, and one committed object deleted."""
    for key in [*TREE[::2], "gone", "b/gone"]:
        main.object(key).upload(key.encode())
    main.commit("half")
    for key in TREE[1::2]:
        main.object(key).upload(key.encode())
    main.delete_objects(["gone", "b/gone"])
    return main


def test_list_all(tree: lakefs.Branch) -> None:
    assert [row.path for row in tree.objects()] == TREE


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("b", ["b/1", "b/2", "b/c/1", "b0"]), ("b/", ["b/1", "b/2", "b/c/1"]), ("b/c/1", ["b/c/1"]), ("zz", [])],
)
def test_list_prefix(tree: lakefs.Branch, prefix: str, expected: list[str]) -> None:
    assert [row.path for row in tree.objects(prefix=prefix)] == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("", ["a", "b/", "b0", "d/", "z"]), ("b", ["b/", "b0"]), ("b/", ["b/1", "b/2", "b/c/"]), ("d/e", ["d/e/"])],
)
def test_list_delimiter(tree: lakefs.Branch, prefix: str, expected: list[str]) -> None:
    assert [row.path for row in tree.objects(prefix=prefix, delimiter="/")] == expected


def test_list_after(tree: lakefs.Branch) -> None:
    assert [row.path for row in tree.objects(after="b/2")] == ["b/c/1", "b0", "d/e/f/g", "z"]
    assert [row.path for row in tree.objects(after="b/", delimiter="/")] == ["b0", "d/", "z"]


@pytest.mark.parametrize("delimiter", ["", "/"])
def test_pages_join_to_the_whole(tree: lakefs.Branch, client: Client, repo: lakefs.Repository, delimiter: str) -> None:
    whole = [row.path for row in tree.objects(delimiter=delimiter)]
    for amount in (1, 2, 3):
        seen: list[str] = []
        after = ""
        while True:
            page = client.sdk_client.objects_api.list_objects(
                repo.id, "main", amount=amount, after=after, delimiter=delimiter
            )
            assert page.pagination.results == len(page.results) <= amount
            seen += [row.path for row in page.results]
            after = page.pagination.next_offset
            if not page.pagination.has_more:
                break
        assert seen == whole


def test_list_missing_ref_is_404(repo: lakefs.Repository) -> None:
    with pytest.raises(NotFoundException):
        list(repo.branch("nope").objects())


# -- changing --------------------------------------------------------------------------------------


def test_uncommitted_changes(main: lakefs.Branch) -> None:
    for key in ("keep", "change", "remove"):
        main.object(key).upload(b"1")
    main.commit("base")
    main.object("change").upload(b"22")
    main.object("add").upload(b"1")
    main.object("remove").delete()
    main.object("keep").upload(b"1")
    changes = [(change.type, change.path) for change in main.uncommitted()]
    assert changes == [("added", "add"), ("changed", "change"), ("removed", "remove")]
    assert [change.path for change in main.uncommitted(prefix="a")] == ["add"]
    assert [change.path for change in main.uncommitted(after="add", max_amount=1)] == ["change"]


def test_same_content_again_is_no_change(main: lakefs.Branch) -> None:
    main.object("f").upload(b"1")
    main.commit("base")
    main.object("f").upload(b"1")
    assert list(main.uncommitted()) == []
    with pytest.raises(BadRequestException):
        main.commit("nothing")


def test_delete_staged_and_recreate(main: lakefs.Branch) -> None:
    main.object("f").upload(b"1")
    main.object("f").delete()
    assert list(main.uncommitted()) == []
    assert list(main.objects()) == []
    main.object("f").upload(b"2")
    main.commit("two")
    assert main.object("f").reader().read() == b"2"


def test_delete_many(main: lakefs.Branch, client: Client, repo: lakefs.Repository) -> None:
    for key in ("a", "b", "c"):
        main.object(key).upload(b"1")
    main.commit("base")
    answer = client.sdk_client.objects_api.delete_objects(
        repo.id, "main", lakefs_sdk.PathList(paths=["a", "c", "missing"])
    )
    assert answer.errors == []
    assert [row.path for row in main.objects()] == ["b"]
    too_many = lakefs_sdk.PathList(paths=[f"k{i}" for i in range(1001)])
    with pytest.raises(lakefs_sdk.exceptions.BadRequestException):
        client.sdk_client.objects_api.delete_objects(repo.id, "main", too_many)


def test_copy(main: lakefs.Branch, repo: lakefs.Repository, client: Client) -> None:
    main.object("src").upload(b"body", content_type="text/x", metadata={"k": "v"})
    commit = main.commit("base").id
    main.object("src").upload(b"newer")
    copied = main.object("src").copy("main", "dst/copy")
    assert copied.reader().read() == b"newer"
    request = lakefs_sdk.ObjectCopyCreation(src_path="src", src_ref=commit)
    stats = client.sdk_client.objects_api.copy_object(repo.id, "main", "old", request)
    assert (stats.size_bytes, stats.content_type, stats.metadata) == (4, "text/x", {"k": "v"})
    with pytest.raises(ServerException) as error:
        main.object("nope").copy("main", "x")
    assert error.value.status_code == 404


def test_reset(main: lakefs.Branch) -> None:
    for key in ("a", "p/1", "p/2", "q"):
        main.object(key).upload(b"1")
    main.reset_changes("object", "a")
    assert [row.path for row in main.objects()] == ["p/1", "p/2", "q"]
    main.reset_changes("common_prefix", "p/")
    assert [row.path for row in main.objects()] == ["q"]
    main.reset_changes()
    assert list(main.objects()) == []


def test_update_user_metadata(main: lakefs.Branch, client: Client, repo: lakefs.Repository, endpoint: Endpoint) -> None:
    if not endpoint.is_standin:
        pytest.skip("an experimental call of the real server")
    main.object("f").upload(b"1", metadata={"old": "1"})
    new = lakefs_sdk.UpdateObjectUserMetadata(set={"new": "2"})
    client.sdk_client.experimental_api.update_object_user_metadata(repo.id, "main", "f", new)
    assert main.object("f").stat().metadata == {"new": "2"}


def test_underlying_properties(main: lakefs.Branch, client: Client, repo: lakefs.Repository) -> None:
    main.object("f").upload(b"1")
    assert client.sdk_client.objects_api.get_underlying_properties(repo.id, "main", "f") is not None


def test_nul_in_a_key_is_refused(endpoint: Endpoint, repo: lakefs.Repository) -> None:
    if not endpoint.is_standin:
        pytest.skip("real lakeFS stores it; a git tree cannot")
    status, body, _ = call_api(endpoint, "POST", f"/repositories/{repo.id}/branches/main/objects?path=a%00b", b"x")
    assert (status, "path: invalid value" in body["message"]) == (400, True)


def test_storage_namespace_of_two_repositories_does_not_mix(client: Client) -> None:
    repos = [lakefs.Repository(new_name(), client=client).create(f"local://{new_name()}") for _ in range(2)]
    for number, repo in enumerate(repos):
        repo.branch("main").object("same").upload(str(number).encode())
    assert [repo.branch("main").object("same").reader().read() for repo in repos] == [b"0", b"1"]
    for repo in repos:
        repo.delete()
