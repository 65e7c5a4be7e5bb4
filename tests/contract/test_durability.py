"""Kill -9 during writes, commits and merges: confirmed changes survive, others leave no trace."""

from __future__ import annotations

import base64
import itertools
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lakefs
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from lakefs.exceptions import LakeFSException
from urllib3.exceptions import HTTPError

from tests.contract.conftest import make_client, make_s3
from tests.contract.server import ACCESS_KEY, REPOSITORY, SECRET_KEY, StandInProcess, free_port
from tests.eventually import eventually

pytestmark = pytest.mark.faults

# Uploads here use boto3, because the writer of lakeFS's SDK leaks its temporary file when the
# server is down.
CUT = (LakeFSException, BotoCoreError, ClientError, HTTPError, OSError)


def make_repo(server: StandInProcess, name: str = "lake") -> lakefs.Repository:
    return lakefs.Repository(name, client=make_client(server.endpoint)).create(f"local://{name}")


def open_repo(server: StandInProcess, name: str = "lake") -> lakefs.Repository:
    return lakefs.Repository(name, client=make_client(server.endpoint))


def body_of(key: str) -> bytes:
    return key.encode() * 200


def test_everything_survives_a_restart(own_server: StandInProcess) -> None:
    repo = make_repo(own_server)
    main = repo.branch("main")
    main.object("committed").upload(b"1", metadata={"k": "v"})
    first = main.commit("one").id
    repo.tag("t").create("main")
    main.object("staged").upload(b"2")
    main.object("committed").delete()
    s3 = make_s3(own_server.endpoint)
    upload = s3.create_multipart_upload(Bucket="lake", Key="main/mp")["UploadId"]
    part = s3.upload_part(Bucket="lake", Key="main/mp", UploadId=upload, PartNumber=1, Body=b"part")
    assert own_server.stop() == 0
    own_server.start()
    main = open_repo(own_server).branch("main")
    assert [row.path for row in main.objects()] == ["staged"]
    assert [(row.type, row.path) for row in main.uncommitted()] == [("removed", "committed"), ("added", "staged")]
    assert open_repo(own_server).tag("t").get_commit().id == first
    assert open_repo(own_server).ref(first).object("committed").stat().metadata == {"k": "v"}
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket="lake", Key="main/mp", UploadId=upload, MultipartUpload=parts)
    assert main.object("mp").reader().read() == b"part"


def write_until_cut(server: StandInProcess, writer: int, answered: list[str]) -> None:
    s3 = make_s3(server.endpoint)
    for number in itertools.count():
        key = f"w{writer}/{number % 7}/{number:05d}"
        try:
            s3.put_object(Bucket="lake", Key=f"main/{key}", Body=body_of(key))
        except CUT:
            return
        answered.append(key)


@pytest.mark.parametrize("attempt", range(2))
def test_kill_during_writes(own_server: StandInProcess, attempt: int) -> None:
    make_repo(own_server)
    answered: list[list[str]] = [[] for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(write_until_cut, own_server, n, answered[n]) for n in range(3)]
        eventually(lambda: sum(map(len, answered)) > 60 + 45 * attempt, timeout_s=60, every_s=0.02)
        own_server.kill()
        for one in running:
            one.result(60)
    own_server.start()
    main = open_repo(own_server).branch("main")
    listed = {row.path: row for row in main.objects()}
    lost = [key for keys in answered for key in keys if key not in listed]
    assert lost == []
    assert len(listed) <= sum(map(len, answered)) + 3, "at most the request in flight of each writer is extra"
    for key in listed:
        assert main.object(key).reader().read() == body_of(key)
    assert list((own_server.data / "tmp").iterdir()) == [], "cut-off bodies are cleared at start"
    main.commit("after the crash")


def commit_until_cut(server: StandInProcess, answered: list[str]) -> None:
    """Repeat: write three files and commit them; every commit replaces `latest`."""
    main, s3 = open_repo(server).branch("main"), make_s3(server.endpoint)
    for number in itertools.count():
        try:
            for name in ("a", "b", "c"):
                s3.put_object(Bucket="lake", Key=f"main/batch={number:04d}/{name}", Body=body_of(f"{number}{name}"))
            s3.put_object(Bucket="lake", Key="main/latest", Body=str(number).encode())
            answered.append(main.commit(f"batch {number}", metadata={"batch": str(number)}).id)
        except CUT:
            return


@pytest.mark.parametrize("attempt", range(2))
def test_kill_during_commits(own_server: StandInProcess, attempt: int) -> None:
    make_repo(own_server)
    answered: list[str] = []
    thread = threading.Thread(target=commit_until_cut, args=(own_server, answered))
    thread.start()
    eventually(lambda: len(answered) > 5 + 3 * attempt, timeout_s=60, every_s=0.003)
    own_server.kill()
    thread.join(60)
    own_server.start()
    repo = open_repo(own_server)
    log = list(repo.branch("main").log())
    ids = [commit.id for commit in log]
    assert set(answered) <= set(ids)
    assert len(ids) <= len(answered) + 2, "the first commit, and at most one whose answer was cut"
    for commit in log[:-1]:
        batch = int(commit.metadata["batch"])
        paths = [row.path for row in repo.ref(commit.id).objects(prefix="batch=")]
        assert paths == [f"batch={n:04d}/{name}" for n in range(batch + 1) for name in "abc"], "a commit is whole"
        assert repo.ref(commit.id).object("latest").reader().read() == str(batch).encode()
    main = repo.branch("main")
    main.reset_changes()
    main.object("again").upload(b"1")
    main.commit("works again")


def merge_until_cut(server: StandInProcess, answered: list[str]) -> None:
    repo, s3 = open_repo(server), make_s3(server.endpoint)
    for number in itertools.count():
        try:
            branch = repo.branch(f"b{number}").create("main")
            for name in ("x", "y"):
                s3.put_object(Bucket="lake", Key=f"b{number}/m{number:04d}/{name}", Body=b"1")
            branch.commit(f"on branch {number}")
            answered.append(branch.merge_into("main"))
        except CUT:
            return


def test_kill_during_merges(own_server: StandInProcess) -> None:
    make_repo(own_server)
    answered: list[str] = []
    thread = threading.Thread(target=merge_until_cut, args=(own_server, answered))
    thread.start()
    eventually(lambda: len(answered) > 5, timeout_s=60, every_s=0.003)
    own_server.kill()
    thread.join(60)
    own_server.start()
    main = open_repo(own_server).branch("main")
    assert set(answered) <= {commit.id for commit in main.log()}
    paths = [row.path for row in main.objects()]
    whole = [f"m{n:04d}/{name}" for n in range(len(paths) // 2) for name in "xy"]
    assert paths == whole
    assert len(answered) <= len(paths) // 2 <= len(answered) + 1
    assert list(main.uncommitted()) == []


@pytest.mark.parametrize("size", [100, 5 << 20])
def test_client_that_goes_away_leaves_nothing(own_server: StandInProcess, size: int) -> None:
    main = make_repo(own_server).branch("main")
    pair = base64.b64encode(f"{ACCESS_KEY}:{SECRET_KEY}".encode()).decode()
    head = (
        f"POST /api/v1/repositories/lake/branches/main/objects?path=f HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Basic {pair}\r\nContent-Length: {size + 10}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", own_server.port)) as connection:
        connection.sendall(head.encode() + b"x" * size)
        if size > 1 << 20:
            eventually(lambda: any((own_server.data / "tmp").iterdir()), every_s=0.02)
    eventually(lambda: not any((own_server.data / "tmp").iterdir()), every_s=0.02)
    assert list(main.objects()) == []
    main.object("f").upload(b"still works")


# -- the process itself ----------------------------------------------------------------------------


def run_cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "standins.lakefs", *arguments]
    clean = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(command, cwd=REPOSITORY, env=clean, capture_output=True, text=True, timeout=60, check=False)


KEYS = {"LAKEFS_ACCESS_KEY_ID": "a", "LAKEFS_SECRET_ACCESS_KEY": "b"}


def test_missing_keys_are_a_clear_error(tmp_path: Path) -> None:
    answer = run_cli("--data", str(tmp_path / "d"), LAKEFS_ACCESS_KEY_ID="a")
    assert answer.returncode == 2
    assert "LAKEFS_SECRET_ACCESS_KEY not set" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("listen", ["21050", "host:", "127.0.0.1:99999", "127.0.0.1:x"])
def test_bad_address_is_a_clear_error(tmp_path: Path, listen: str) -> None:
    answer = run_cli("--data", str(tmp_path / "d"), "--listen", listen, **KEYS)
    assert (answer.returncode, "Traceback" in answer.stderr) == (2, False)
    assert "Expected --listen HOST:PORT" in answer.stderr


def test_second_server_on_one_folder_is_refused(own_server: StandInProcess) -> None:
    make_repo(own_server)
    answer = run_cli("--data", str(own_server.data), "--listen", f"127.0.0.1:{free_port()}", **KEYS)
    assert (answer.returncode, "Traceback" in answer.stderr) == (2, False)
    assert "already runs" in answer.stderr
    open_repo(own_server).branch("main").object("f").upload(b"still works")


def test_port_in_use_is_a_clear_error(own_server: StandInProcess, tmp_path: Path) -> None:
    answer = run_cli("--data", str(tmp_path / "other"), "--listen", f"127.0.0.1:{own_server.port}", **KEYS)
    assert (answer.returncode, "Traceback" in answer.stderr) == (2, False)
    assert "Cannot listen" in answer.stderr


def test_help_is_complete() -> None:
    text = run_cli("--help").stdout
    for word in (
        "--listen",
        "--data",
        "--block-store",
        "LAKEFS_ACCESS_KEY_ID",
        "LAKEFS_SECRET_ACCESS_KEY",
        "exit codes",
    ):
        assert word in text


# -- blocks in another S3 store --------------------------------------------------------------------


def test_blocks_in_an_s3_store(own_server: StandInProcess, tmp_path: Path) -> None:
    """Another stand-in serves as the S3 store; any S3 store would do."""
    make_repo(own_server, "blocks")
    endpoint: Any = own_server.endpoint
    # Keys of our gateway begin with a branch name, so the namespace starts with `main`.
    outer = StandInProcess(
        tmp_path / "outer",
        arguments=("--block-store", "s3", "--block-s3-endpoint", endpoint.url, "--block-s3-bucket", "blocks"),
        environment={"AWS_ACCESS_KEY_ID": endpoint.access_key, "AWS_SECRET_ACCESS_KEY": endpoint.secret_key},
    ).start()
    try:
        client = make_client(outer.endpoint)
        repo = lakefs.Repository("lake", client=client).create("s3://main/lake")
        big = bytes(range(256)) * 50_000
        repo.branch("main").object("small").upload(b"small")
        repo.branch("main").object("big").upload(big)
        repo.branch("main").commit("two")
        assert repo.branch("main").object("small").reader().read() == b"small"
        s3 = make_s3(outer.endpoint)
        assert s3.get_object(Bucket="lake", Key="main/big")["Body"].read() == big
        ranged = s3.get_object(Bucket="lake", Key="main/big", Range="bytes=12000000-12000010")["Body"].read()
        assert ranged == big[12_000_000:12_000_011]
        inner = [row.path for row in open_repo(own_server, "blocks").branch("main").objects(prefix="lake/data/")]
        assert len(inner) == 2
    finally:
        assert outer.stop() == 0
    missing = run_cli("--data", str(tmp_path / "x"), "--block-store", "s3", **KEYS)
    assert (missing.returncode, "needs --block-s3-endpoint" in missing.stderr) == (2, True)
