"""The S3 gateway through boto3: objects, conditions, listings, copies, multipart."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import lakefs
import pytest
from botocore.exceptions import ClientError
from botocore.httpchecksum import _CHECKSUM_CLS

from tests.contract.conftest import new_name
from tests.contract.server import Endpoint
from tests.contract.test_objects import ODD_KEYS, TREE

MIB = 1 << 20


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def code(call: Callable[[], Any]) -> tuple[str, int]:
    """Return (error code, status) of a call that must fail."""
    with pytest.raises(ClientError) as error:
        call()
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def bucket(repo: lakefs.Repository) -> str:
    name: str = repo.id
    return name


# -- buckets ---------------------------------------------------------------------------------------


def test_buckets_are_repositories(s3: Any, bucket: str) -> None:
    assert bucket in [row["Name"] for row in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert code(lambda: s3.head_bucket(Bucket=new_name())) == ("404", 404)
    assert code(lambda: s3.list_objects_v2(Bucket=new_name(), Prefix="main/")) == ("NoSuchBucket", 404)


def test_unsupported_call_is_typed(s3: Any, bucket: str) -> None:
    _, status = code(lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket))
    assert status in (405, 501)


# -- objects ---------------------------------------------------------------------------------------


def test_put_get_head(s3: Any, bucket: str, main: lakefs.Branch) -> None:
    put = s3.put_object(Bucket=bucket, Key="main/a/b", Body=b"body", ContentType="text/plain", Metadata={"owner": "me"})
    assert put["ETag"] == f'"{md5(b"body")}"'
    got = s3.get_object(Bucket=bucket, Key="main/a/b")
    assert got["Body"].read() == b"body"
    head = s3.head_object(Bucket=bucket, Key="main/a/b")
    for answer in (got, head):
        assert answer["ContentLength"] == 4
        assert answer["ETag"] == put["ETag"]
        assert answer["ContentType"] == "text/plain"
        assert answer["Metadata"] == {"Owner": "me"}
    assert main.object("a/b").reader().read() == b"body"
    assert main.object("a/b").stat().metadata == {"X-Amz-Meta-owner": "me"}


def test_metadata_of_the_api_is_not_the_gateways(s3: Any, bucket: str, main: lakefs.Branch) -> None:
    main.object("f").upload(b"1", metadata={"lower": "1", "Upper": "2"})
    assert main.object("f").stat().metadata == {"lower": "1", "upper": "2"}
    assert s3.head_object(Bucket=bucket, Key="main/f")["Metadata"] == {}


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_odd_keys(s3: Any, bucket: str, main: lakefs.Branch, key: str, endpoint: Endpoint) -> None:
    s3.put_object(Bucket=bucket, Key=f"main/{key}", Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=f"main/{key}")["Body"].read() == key.encode()
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="main/", EncodingType="url")
    assert listed["KeyCount"] == 1
    assert [row.path for row in main.objects()] == [key]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"main/{key}"}]})
    if "\n" in key and not endpoint.is_standin:
        s3.delete_object(Bucket=bucket, Key=f"main/{key}")  # the real server reports success but does not delete it
    assert list(main.objects()) == []


def test_read_by_commit_and_tag(s3: Any, bucket: str, repo: lakefs.Repository, main: lakefs.Branch) -> None:
    s3.put_object(Bucket=bucket, Key="main/f", Body=b"1")
    commit = main.commit("one").id
    repo.tag("t1").create("main")
    s3.put_object(Bucket=bucket, Key="main/f", Body=b"2")
    bodies = [s3.get_object(Bucket=bucket, Key=f"{ref}/f")["Body"].read() for ref in (commit, "t1", "main")]
    assert bodies == [b"1", b"1", b"2"]


def test_missing_things(s3: Any, bucket: str, repo: lakefs.Repository) -> None:
    repo.tag("t1").create("main")
    assert code(lambda: s3.get_object(Bucket=bucket, Key="main/nope")) == ("NoSuchKey", 404)
    assert code(lambda: s3.get_object(Bucket=bucket, Key="no-branch/nope")) == ("NoSuchKey", 404)
    assert code(lambda: s3.head_object(Bucket=bucket, Key="main/nope")) == ("404", 404)
    assert code(lambda: s3.put_object(Bucket=bucket, Key="no-branch/f", Body=b"1")) == ("NoSuchBucket", 404)
    assert code(lambda: s3.put_object(Bucket=bucket, Key="t1/f", Body=b"1")) == ("NoSuchBucket", 404)
    assert code(lambda: s3.put_object(Bucket=new_name(), Key="main/f", Body=b"1")) == ("NoSuchBucket", 404)
    s3.delete_object(Bucket=bucket, Key="main/nope")


@pytest.mark.parametrize(
    ("header", "content"),
    [("bytes=0-0", b"0"), ("bytes=3-", b"3456789"), ("bytes=-2", b"89"), ("bytes=-20", b"0123456789")],
)
def test_ranges(s3: Any, bucket: str, header: str, content: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="main/d", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="main/d", Range=header)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["Body"].read() == content


def test_bad_ranges(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="main/d", Body=b"0123456789")
    s3.put_object(Bucket=bucket, Key="main/empty", Body=b"")
    assert code(lambda: s3.get_object(Bucket=bucket, Key="main/d", Range="bytes=10-")) == ("InvalidRange", 416)
    assert code(lambda: s3.get_object(Bucket=bucket, Key="main/empty", Range="bytes=0-1")) == ("InvalidRange", 416)
    assert s3.get_object(Bucket=bucket, Key="main/d", Range="bytes=7-2")["Body"].read() == b"0123456789"


def test_conditional_put(s3: Any, bucket: str) -> None:
    tag = s3.put_object(Bucket=bucket, Key="main/f", Body=b"1", IfNoneMatch="*")["ETag"]
    again = code(lambda: s3.put_object(Bucket=bucket, Key="main/f", Body=b"2", IfNoneMatch="*"))
    assert again == ("PreconditionFailed", 412)
    for other in ({"IfMatch": tag}, {"IfNoneMatch": tag}):
        refused = code(lambda: s3.put_object(Bucket=bucket, Key="main/f", Body=b"2", **other))  # noqa: B023
        assert refused == ("NotImplemented", 501)
    assert s3.get_object(Bucket=bucket, Key="main/f")["Body"].read() == b"1"


def test_conditions_on_reads_and_copies_are_ignored(s3: Any, bucket: str) -> None:
    tag = s3.put_object(Bucket=bucket, Key="main/f", Body=b"1")["ETag"]
    for condition in ({"IfNoneMatch": tag}, {"IfMatch": '"0"'}):
        assert s3.get_object(Bucket=bucket, Key="main/f", **condition)["Body"].read() == b"1"
        s3.head_object(Bucket=bucket, Key="main/f", **condition)
    s3.copy_object(Bucket=bucket, Key="main/g", CopySource=f"{bucket}/main/f", CopySourceIfMatch='"0"')
    assert s3.get_object(Bucket=bucket, Key="main/g")["Body"].read() == b"1"


def test_copy(s3: Any, bucket: str, repo: lakefs.Repository) -> None:
    repo.branch("dev").create("main")
    s3.put_object(Bucket=bucket, Key="main/ü +src", Body=b"body", Metadata={"a": "1"}, ContentType="text/x")
    copied = s3.copy_object(Bucket=bucket, Key="dev/dst", CopySource={"Bucket": bucket, "Key": "main/ü +src"})
    assert copied["CopyObjectResult"]["ETag"] == f'"{md5(b"body")}"'
    head = s3.head_object(Bucket=bucket, Key="dev/dst")
    assert (head["Metadata"], head["ContentType"]) == ({"A": "1"}, "text/x")
    s3.copy_object(
        Bucket=bucket,
        Key="dev/dst2",
        CopySource=f"{bucket}/main/ü +src",
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
    )
    assert s3.head_object(Bucket=bucket, Key="dev/dst2")["Metadata"] == {"B": "2"}
    missing = code(lambda: s3.copy_object(Bucket=bucket, Key="dev/x", CopySource=f"{bucket}/main/nope"))
    assert missing == ("NoSuchKey", 404)
    malformed = code(lambda: s3.copy_object(Bucket=bucket, Key="dev/x", CopySource="no-slashes"))
    assert malformed[1] in (400, 404)


def test_delete_many_counts_missing_as_deleted(s3: Any, bucket: str, repo: lakefs.Repository) -> None:
    repo.branch("dev").create("main")
    for key in ("main/a", "dev/b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    keys = ["main/a", "dev/b", "main/missing"]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(row["Key"] for row in answer["Deleted"]) == sorted(keys)
    assert "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket, Prefix="main/")["KeyCount"] == 0
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "main/a"}], "Quiet": True})
    assert "Deleted" not in quiet


def test_large_put_streams(s3: Any, bucket: str) -> None:
    body = bytes(range(251)) * 50_000
    s3.put_object(Bucket=bucket, Key="main/big", Body=io.BytesIO(body))
    got = s3.get_object(Bucket=bucket, Key="main/big")
    assert got["ETag"] == f'"{md5(body)}"'
    assert md5(got["Body"].read()) == md5(body)
    part = s3.get_object(Bucket=bucket, Key="main/big", Range="bytes=1000000-9999999")
    assert part["Body"].read() == body[1_000_000:10_000_000]


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(s3: Any, bucket: str, algorithm: str) -> None:
    if algorithm.lower() not in _CHECKSUM_CLS:
        pytest.skip(f"this botocore cannot compute {algorithm} without awscrt")
    s3.put_object(Bucket=bucket, Key="main/f", Body=b"body" * 3000, ChecksumAlgorithm=algorithm)
    assert s3.head_object(Bucket=bucket, Key="main/f")["ContentLength"] == 12_000


# -- listings --------------------------------------------------------------------------------------


@pytest.fixture
def tree(s3: Any, bucket: str, main: lakefs.Branch) -> str:
    for key in TREE:
        s3.put_object(Bucket=bucket, Key=f"main/{key}", Body=key.encode())
        if key == "b/2":
            main.commit("half")
    return bucket


def test_list_branches_at_the_root(s3: Any, tree: str, repo: lakefs.Repository) -> None:
    repo.branch("dev").create("main")
    repo.tag("a-tag").create("main")
    answer = s3.list_objects_v2(Bucket=tree, Delimiter="/")
    assert [row["Prefix"] for row in answer["CommonPrefixes"]] == ["dev/", "main/"]
    answer = s3.list_objects_v2(Bucket=tree, Delimiter="/", Prefix="d")
    assert [row["Prefix"] for row in answer["CommonPrefixes"]] == ["dev/"]


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_list_all(s3: Any, tree: str, operation: str) -> None:
    answer = getattr(s3, operation)(Bucket=tree, Prefix="main/")
    assert [row["Key"] for row in answer["Contents"]] == [f"main/{key}" for key in TREE]
    first = answer["Contents"][0]
    assert (first["Size"], first["ETag"]) == (1, f'"{md5(b"a")}"')
    assert answer["IsTruncated"] is False


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_list_delimiter(s3: Any, tree: str, operation: str) -> None:
    answer = getattr(s3, operation)(Bucket=tree, Prefix="main/", Delimiter="/")
    assert [row["Key"] for row in answer["Contents"]] == ["main/a", "main/b0", "main/z"]
    assert [row["Prefix"] for row in answer["CommonPrefixes"]] == ["main/b/", "main/d/"]


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_join_to_the_whole(s3: Any, tree: str, operation: str, delimiter: str, size: int) -> None:
    pages = s3.get_paginator(operation).paginate(
        Bucket=tree, Prefix="main/", Delimiter=delimiter, PaginationConfig={"PageSize": size}
    )
    keys, prefixes = [], []
    for page in pages:
        rows, folders = page.get("Contents", []), page.get("CommonPrefixes", [])
        assert len(rows) + len(folders) <= size
        keys += [row["Key"] for row in rows]
        prefixes += [row["Prefix"] for row in folders]
    if delimiter:
        assert (keys, prefixes) == (["main/a", "main/b0", "main/z"], ["main/b/", "main/d/"])
    else:
        assert (keys, prefixes) == ([f"main/{key}" for key in TREE], [])


def test_start_after_and_zero_keys(s3: Any, tree: str) -> None:
    answer = s3.list_objects_v2(Bucket=tree, Prefix="main/", StartAfter="main/b/2")
    assert [row["Key"] for row in answer["Contents"]] == ["main/b/c/1", "main/b0", "main/d/e/f/g", "main/z"]
    assert s3.list_objects_v2(Bucket=tree, Prefix="main/", MaxKeys=0)["KeyCount"] == 0


def test_list_missing_branch(s3: Any, bucket: str) -> None:
    assert code(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="nope/")) == ("BadRequest", 400)
    assert "Contents" not in s3.list_objects(Bucket=bucket, Prefix="nope/")
    assert s3.list_objects_v2(Bucket=bucket, Prefix="nope")["KeyCount"] == 0


# -- multipart -------------------------------------------------------------------------------------


def upload_parts(s3: Any, bucket: str, key: str, parts: dict[int, bytes]) -> tuple[str, list[dict[str, Any]]]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, ContentType="x/y", Metadata={"m": "1"})["UploadId"]
    done = []
    for number, body in parts.items():
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
        assert answer["ETag"] == f'"{md5(body)}"'
        done.append({"PartNumber": number, "ETag": answer["ETag"]})
    return upload, sorted(done, key=lambda part: part["PartNumber"])


def test_multipart(s3: Any, bucket: str, main: lakefs.Branch, endpoint: Endpoint) -> None:
    parts = {2: b"b" * 100, 1: b"a" * (5 * MIB), 7: b""}
    upload, done = upload_parts(s3, bucket, "main/mp", parts)
    assert not main.object("mp").exists()
    answer = s3.complete_multipart_upload(
        Bucket=bucket, Key="main/mp", UploadId=upload, MultipartUpload={"Parts": done}
    )
    joined = b"".join(hashlib.md5(parts[n], usedforsecurity=False).digest() for n in (1, 2, 7))
    assert answer["ETag"] == f'"{md5(joined)}-3"'
    head = s3.head_object(Bucket=bucket, Key="main/mp")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (5 * MIB + 100, "x/y", {"M": "1"})
    if endpoint.is_standin:
        assert head["ETag"] == answer["ETag"]
    body = s3.get_object(Bucket=bucket, Key="main/mp")["Body"].read()
    assert body == parts[1] + parts[2]
    assert code(lambda: s3.list_parts(Bucket=bucket, Key="main/mp", UploadId=upload))[1] in (404, 500)


def test_multipart_part_again_and_subset(s3: Any, bucket: str, endpoint: Endpoint) -> None:
    if not endpoint.is_standin:
        pytest.skip("the local block store of the real server joins every part")
    upload, _ = upload_parts(s3, bucket, "main/mp", {1: b"old", 2: b"unused"})
    tag = s3.upload_part(Bucket=bucket, Key="main/mp", UploadId=upload, PartNumber=1, Body=b"new")["ETag"]
    listed = s3.list_parts(Bucket=bucket, Key="main/mp", UploadId=upload)["Parts"]
    assert [(row["PartNumber"], row["Size"]) for row in listed] == [(1, 3), (2, 6)]
    assert listed[0]["ETag"] == tag
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="main/mp", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object(Bucket=bucket, Key="main/mp")["Body"].read() == b"new"


def test_multipart_errors(s3: Any, bucket: str, endpoint: Endpoint) -> None:
    if not endpoint.is_standin:
        pytest.skip("the real gateway answers InternalError for most of these")
    upload, done = upload_parts(s3, bucket, "main/mp", {1: b"1", 2: b"2"})
    target = {"Bucket": bucket, "Key": "main/mp", "UploadId": upload}

    def complete(parts: list[dict[str, Any]]) -> Callable[[], Any]:
        return lambda: s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})

    assert code(complete(done[::-1])) == ("InvalidPartOrder", 400)
    assert code(complete([{"PartNumber": 1, "ETag": '"0"'}])) == ("InvalidPart", 400)
    assert code(complete([{"PartNumber": 3, "ETag": done[0]["ETag"]}])) == ("InvalidPart", 400)
    assert code(lambda: s3.upload_part(**target, PartNumber=10_001, Body=b"")) == ("InvalidArgument", 400)
    wrong = {**target, "UploadId": "nope"}
    assert code(lambda: s3.upload_part(**wrong, PartNumber=1, Body=b"")) == ("NoSuchUpload", 404)


def test_multipart_abort(s3: Any, bucket: str, main: lakefs.Branch, endpoint: Endpoint) -> None:
    upload, _ = upload_parts(s3, bucket, "main/mp", {1: b"1"})
    if endpoint.is_standin:
        listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert [(row["Key"], row["UploadId"]) for row in listed] == [("main/mp", upload)]
    s3.abort_multipart_upload(Bucket=bucket, Key="main/mp", UploadId=upload)
    assert not main.object("mp").exists()
    assert code(lambda: s3.list_parts(Bucket=bucket, Key="main/mp", UploadId=upload))[1] in (404, 500)


def test_part_copy(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="main/src", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="main/mp")["UploadId"]
    source = {"Bucket": bucket, "Key": "main/src"}
    target = {"Bucket": bucket, "Key": "main/mp", "UploadId": upload}
    whole = s3.upload_part_copy(**target, PartNumber=1, CopySource=source)["CopyPartResult"]["ETag"]
    some = s3.upload_part_copy(**target, PartNumber=2, CopySource=source, CopySourceRange="bytes=2-4")
    parts = [{"PartNumber": 1, "ETag": whole}, {"PartNumber": 2, "ETag": some["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="main/mp")["Body"].read() == b"0123456789234"


def test_managed_transfer(s3: Any, bucket: str, tmp_path: Any) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 80_000)
    s3.upload_file(str(source), bucket, "main/managed")
    target = tmp_path / "target"
    s3.download_file(bucket, "main/managed", str(target))
    assert target.read_bytes() == source.read_bytes()
