"""SigV4 at the gateway: refused requests, presigned URLs, and signed chunks."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import re
import urllib.parse
import urllib.request
from dataclasses import replace
from typing import Any

import botocore.auth
import lakefs
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.contract.conftest import make_s3
from tests.contract.server import Endpoint
from tests.contract.test_gateway import code

EMPTY = hashlib.sha256(b"").hexdigest()
Answer = tuple[int, bytes]


def send(endpoint: Endpoint, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
    connection = http.client.HTTPConnection(endpoint.address, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def error_code(body: bytes) -> str:
    found = re.search(rb"<Code>(.*?)</Code>", body)
    assert found, body
    return found[1].decode()


def signed_headers(endpoint: Endpoint, method: str, path: str, payload: str, **extra: str) -> dict[str, str]:
    """Return the headers of botocore's signature, with any payload value."""
    headers = {name.replace("_", "-"): value for name, value in extra.items()}
    request = AWSRequest(method, f"{endpoint.url}{path}", headers={**headers, "X-Amz-Content-SHA256": payload})
    auth = S3SigV4Auth(Credentials(endpoint.access_key, endpoint.secret_key), "s3", "us-east-1")
    auth.payload = lambda _: payload
    request.context["payload_signing_enabled"] = True
    auth.add_auth(request)
    return {**dict(request.headers), "Host": endpoint.address, "X-Amz-Content-SHA256": payload}


def test_wrong_secret(endpoint: Endpoint, repo: lakefs.Repository) -> None:
    wrong = make_s3(replace(endpoint, secret_key="wrong"))
    assert code(lambda: wrong.list_objects_v2(Bucket=repo.id, Prefix="main/")) == ("SignatureDoesNotMatch", 403)
    assert code(lambda: wrong.put_object(Bucket=repo.id, Key="main/f", Body=b"1")) == ("SignatureDoesNotMatch", 403)


def test_unknown_key(endpoint: Endpoint, repo: lakefs.Repository) -> None:
    wrong = make_s3(replace(endpoint, access_key="AKIAnobody"))
    assert code(lambda: wrong.list_objects_v2(Bucket=repo.id, Prefix="main/"))[1] == 403


def test_no_signature(endpoint: Endpoint, repo: lakefs.Repository) -> None:
    for headers in ({}, {"Authorization": "Basic abc"}):
        status, body = send(endpoint, "GET", f"/{repo.id}?list-type=2&prefix=main/", headers)
        if endpoint.is_standin:
            assert (status, error_code(body)) == (403, "AccessDenied")
        else:
            assert b"<html" in body  # for the real server this is no S3 call, so it returns its web page


@pytest.mark.parametrize(
    "header", ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x", "AWS AKIA:sig", "AWS4-HMAC-SHA256 ,,=,"]
)
def test_malformed_authorization(endpoint: Endpoint, repo: lakefs.Repository, header: str) -> None:
    status, body = send(endpoint, "GET", f"/{repo.id}/main/f", {"Authorization": header})
    assert (status, error_code(body)) == (400, "MissingFields")


def test_changed_request(endpoint: Endpoint, repo: lakefs.Repository) -> None:
    path = f"/{repo.id}/main/f"
    headers = signed_headers(endpoint, "PUT", path, hashlib.sha256(b"1").hexdigest())
    assert send(endpoint, "PUT", path, headers, b"1")[0] == 200
    for method, changed in (("PUT", f"/{repo.id}/main/g"), ("GET", path), ("PUT", f"{path}?x=1")):
        status, body = send(endpoint, method, changed, headers, b"1" if method == "PUT" else b"")
        assert (status, error_code(body)) == (403, "SignatureDoesNotMatch")


def test_changed_body(endpoint: Endpoint, repo: lakefs.Repository, main: lakefs.Branch) -> None:
    path = f"/{repo.id}/main/f"
    headers = signed_headers(endpoint, "PUT", path, hashlib.sha256(b"1").hexdigest())
    status, body = send(endpoint, "PUT", path, headers, b"2")
    ours, real = (400, "XAmzContentSHA256Mismatch"), (500, "InternalError")
    assert (status, error_code(body)) == (ours if endpoint.is_standin else real)
    assert not main.object("f").exists()


def test_old_request(endpoint: Endpoint, repo: lakefs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    early = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(minutes=20)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: early)
    path = f"/{repo.id}/main/f"
    status, body = send(endpoint, "GET", path, signed_headers(endpoint, "GET", path, EMPTY))
    assert (status, error_code(body)) == (403, "RequestTimeTooSkewed")


# -- presigned -------------------------------------------------------------------------------------


def fetch(url: str, method: str = "GET", body: bytes | None = None) -> Answer:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def presigner(endpoint: Endpoint) -> Any:
    return make_s3(endpoint, signature_version="s3v4")


def test_presigned_put_and_get(presigner: Any, repo: lakefs.Repository) -> None:
    target = {"Bucket": repo.id, "Key": "main/ü +f"}
    put = presigner.generate_presigned_url("put_object", target)
    assert fetch(put, "PUT", b"presigned")[0] == 200
    get = presigner.generate_presigned_url("get_object", target, ExpiresIn=60)
    assert fetch(get) == (200, b"presigned")
    status, body = fetch(get.replace("main/", "other/"))
    assert (status, error_code(body)) == (403, "SignatureDoesNotMatch")
    status, _ = fetch(get, "DELETE")
    assert status == 403


def test_presigned_expires(
    endpoint: Endpoint, presigner: Any, repo: lakefs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(seconds=90)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: early)
    url = presigner.generate_presigned_url("get_object", {"Bucket": repo.id, "Key": "main/f"}, ExpiresIn=60)
    status, body = fetch(url)
    assert (status, error_code(body)) == (403, "AccessDenied")
    assert b"expired" in body


# -- signed chunks ---------------------------------------------------------------------------------


class ChunkSigner:
    """Signs a body in chunks; written from the specification, without the server's code."""

    def __init__(self, endpoint: Endpoint, headers: dict[str, str]) -> None:
        self.date = headers["X-Amz-Date"]
        self.scope = f"{self.date[:8]}/us-east-1/s3/aws4_request"
        self.signature = headers["Authorization"].rpartition("Signature=")[2]
        key = b"AWS4" + endpoint.secret_key.encode()
        for part in self.scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        self.key = key

    def chunk(self, data: bytes) -> bytes:
        digest = hashlib.sha256(data).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.date}\n{self.scope}\n{self.signature}\n{EMPTY}\n{digest}"
        self.signature = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
        return b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), self.signature.encode(), data)

    def trailer(self, line: bytes) -> bytes:
        digest = hashlib.sha256(line + b"\n").hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{self.date}\n{self.scope}\n{self.signature}\n{digest}"
        signature = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
        return line + b"\r\nx-amz-trailer-signature:" + signature.encode() + b"\r\n\r\n"


STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def chunked_headers(endpoint: Endpoint, path: str, size: int, payload: str = STREAMING, **extra: str) -> dict[str, str]:
    return signed_headers(
        endpoint,
        "PUT",
        path,
        payload,
        Content_Encoding="aws-chunked",
        X_Amz_Decoded_Content_Length=str(size),
        **extra,
    )


def test_signed_chunks(endpoint: Endpoint, repo: lakefs.Repository, main: lakefs.Branch) -> None:
    path = f"/{repo.id}/main/chunks"
    pieces = [b"a" * 65_536, b"b" * 70_000, b"c"]
    headers = chunked_headers(endpoint, path, sum(map(len, pieces)))
    signer = ChunkSigner(endpoint, headers)
    body = b"".join(signer.chunk(piece) for piece in [*pieces, b""])
    assert send(endpoint, "PUT", path, headers, body) == (200, b"")
    assert main.object("chunks").reader().read() == b"".join(pieces)


@pytest.mark.parametrize("damage", ["data", "signature", "order", "cut"])
def test_damaged_chunks_store_nothing(
    endpoint: Endpoint, repo: lakefs.Repository, main: lakefs.Branch, damage: str
) -> None:
    path = f"/{repo.id}/main/chunks"
    headers = chunked_headers(endpoint, path, 20_000)
    signer = ChunkSigner(endpoint, headers)
    chunks = [signer.chunk(piece) for piece in (b"a" * 10_000, b"b" * 10_000, b"")]
    if damage == "data":
        chunks[1] = chunks[1].replace(b"bb", b"bc", 1)
    elif damage == "signature":
        chunks[1] = re.sub(rb"signature=.{4}", b"signature=0000", chunks[1])
    elif damage == "order":
        chunks[0], chunks[1] = chunks[1], chunks[0]
    else:
        chunks = chunks[:1]
    status, body = send(endpoint, "PUT", path, headers, b"".join(chunks))
    ours = (400, "IncompleteBody") if damage == "cut" else (403, "SignatureDoesNotMatch")
    assert (status, error_code(body)) == (ours if endpoint.is_standin else (500, "InternalError"))
    assert not main.object("chunks").exists()


def test_decoded_length_must_match(endpoint: Endpoint, main: lakefs.Branch) -> None:
    if not endpoint.is_standin:
        pytest.skip("the real gateway takes a signed body of another length than announced")
    path = f"/{main.repo_id}/main/short"
    headers = chunked_headers(endpoint, path, 10)
    signer = ChunkSigner(endpoint, headers)
    status, body = send(endpoint, "PUT", path, headers, signer.chunk(b"123456789") + signer.chunk(b""))
    assert (status, error_code(body)) == (400, "IncompleteBody")
    assert not main.object("short").exists()


def test_signed_trailer_is_refused(endpoint: Endpoint, repo: lakefs.Repository, main: lakefs.Branch) -> None:
    path = f"/{repo.id}/main/trailer"
    payload = f"{STREAMING}-TRAILER"
    headers = chunked_headers(endpoint, path, 9, payload, X_Amz_Trailer="x-amz-checksum-crc32")
    signer = ChunkSigner(endpoint, headers)
    final = signer.chunk(b"123456789") + signer.chunk(b"")[:-2] + signer.trailer(b"x-amz-checksum-crc32:y/Q5Jg==")
    status, body = send(endpoint, "PUT", path, headers, final)
    assert (status, error_code(body)) == (403, "AccessDenied")
    assert not main.object("trailer").exists()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("crc32", "y/Q5Jg==", 200),  # check value of the CRC catalogue, for 123456789
        ("crc32c", "4waSgw==", 200),
        ("crc64nvme", "rosUhgp5mIg=", 200),
        ("crc64nvme", "rosUhgp5mIk=", 400),
        ("crc32c", "4waShA==", 400),
        ("sha256", "AAAA", 400),
    ],
)
def test_unsigned_trailer_checksums(
    endpoint: Endpoint, main: lakefs.Branch, name: str, value: str, status: int
) -> None:
    if not endpoint.is_standin and status != 200:
        pytest.skip("the real gateway does not verify trailing checksums")
    path = f"/{main.repo_id}/main/trailer"
    payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    headers = chunked_headers(endpoint, path, 9, payload, X_Amz_Trailer=f"x-amz-checksum-{name}")
    body = f"4\r\n1234\r\n5\r\n56789\r\n0\r\nx-amz-checksum-{name}:{value}\r\n\r\n".encode()
    got, answer = send(endpoint, "PUT", path, headers, body)
    assert got == status
    if status == 200:
        assert main.object("trailer").reader().read() == b"123456789"
    else:
        assert error_code(answer) == "BadDigest"
        assert not main.object("trailer").exists()


def test_content_md5(s3: Any, repo: lakefs.Repository, endpoint: Endpoint) -> None:
    s3.put_object(Bucket=repo.id, Key="main/f", Body=b"1", ContentMD5="xMpCOKC5I4INzFCab3WEmw==")
    if not endpoint.is_standin:
        pytest.skip("the real gateway leaves Content-MD5 to its block store")
    wrong = code(lambda: s3.put_object(Bucket=repo.id, Key="main/f", Body=b"2", ContentMD5="xMpCOKC5I4INzFCab3WEmw=="))
    assert wrong == ("BadDigest", 400)
    assert s3.get_object(Bucket=repo.id, Key="main/f")["Body"].read() == b"1"
