"""pyarrow and s3fs over the gateway, as the sinks and the notebook use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lakefs
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import s3fs
from pyarrow import fs

from tests.contract.server import Endpoint

MIB = 1 << 20


@pytest.fixture
def arrow(endpoint: Endpoint) -> fs.S3FileSystem:
    return fs.S3FileSystem(
        endpoint_override=endpoint.address,
        scheme="http",
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        region="us-east-1",
    )


@pytest.fixture
def fsspec_s3(endpoint: Endpoint) -> Iterator[s3fs.S3FileSystem]:
    system = s3fs.S3FileSystem(
        key=endpoint.access_key,
        secret=endpoint.secret_key,
        client_kwargs={"endpoint_url": endpoint.url, "region_name": "us-east-1"},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    yield system
    # s3fs would close its client in a finalizer on its own loop, where a warning could not be
    # assigned to this test.
    s3fs.S3FileSystem.close_session(system.loop, system.s3)


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 12 * MIB + 7])
def test_arrow_stream(arrow: fs.S3FileSystem, repo: lakefs.Repository, main: lakefs.Branch, size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    path = f"{repo.id}/main/dir/file"
    with arrow.open_output_stream(path) as stream:
        stream.write(body)
    assert arrow.get_file_info(path).size == size
    with arrow.open_input_stream(path) as stream:
        assert stream.read() == body
    assert main.object("dir/file").stat().size_bytes == size


def test_arrow_random_access(arrow: fs.S3FileSystem, repo: lakefs.Repository) -> None:
    path = f"{repo.id}/main/f"
    with arrow.open_output_stream(path) as stream:
        stream.write(bytes(range(256)) * 40)
    with arrow.open_input_file(path) as file:
        assert file.size() == 10_240
        file.seek(10_000)
        assert file.read(10) == (bytes(range(256)) * 40)[10_000:10_010]
        assert file.read_at(4, 256) == bytes(range(4))


def files_below(arrow: fs.S3FileSystem, root: str) -> list[str]:
    infos = arrow.get_file_info(fs.FileSelector(root, recursive=True))
    return sorted(info.path.removeprefix(f"{root}/") for info in infos if info.type == fs.FileType.File)


def test_arrow_listing_copy_move_delete(arrow: fs.S3FileSystem, repo: lakefs.Repository) -> None:
    root = f"{repo.id}/main/top"
    for name in ("a/1", "a/b/2", "c"):
        with arrow.open_output_stream(f"{root}/{name}") as stream:
            stream.write(b"x")
    assert files_below(arrow, root) == ["a/1", "a/b/2", "c"]
    arrow.copy_file(f"{root}/c", f"{root}/d")
    arrow.move(f"{root}/d", f"{root}/e")
    arrow.delete_file(f"{root}/c")
    arrow.delete_dir(f"{root}/a")
    assert files_below(arrow, root) == ["e"]
    assert arrow.get_file_info(f"{root}/c").type == fs.FileType.NotFound


def test_a_branch_is_no_folder_to_create(arrow: fs.S3FileSystem, repo: lakefs.Repository) -> None:
    """Creating a folder marker for the branch itself is refused, as on the real gateway."""
    with pytest.raises(OSError, match="main/"):
        arrow.create_dir(f"{repo.id}/main/folder", recursive=True)


def test_parquet_dataset(arrow: fs.S3FileSystem, repo: lakefs.Repository, main: lakefs.Branch) -> None:
    table = pa.table({"date": ["2026-11-22", "2026-11-23"] * 500, "price": list(range(1000))})
    root = f"{repo.id}/main/bronze/trades"
    partitioning = ds.partitioning(pa.schema([("date", pa.string())]), flavor="hive")
    ds.write_dataset(table, root, filesystem=arrow, format="parquet", partitioning=partitioning, create_dir=False)
    main.commit("bronze")
    commit = main.head.id
    read = ds.dataset(f"{repo.id}/{commit}/bronze/trades", filesystem=arrow, partitioning="hive").to_table()
    assert read.num_rows == 1000
    assert sum(read["price"].to_pylist()) == sum(range(1000))


def test_single_parquet_file(arrow: fs.S3FileSystem, repo: lakefs.Repository) -> None:
    table = pa.table({"x": pa.array(range(100_000), pa.int64())})
    pq.write_table(table, f"{repo.id}/main/t.parquet", filesystem=arrow)
    assert pq.read_table(f"{repo.id}/main/t.parquet", filesystem=arrow).equals(table)


@pytest.mark.parametrize("size", [0, 100, 11 * MIB])
def test_s3fs_file(fsspec_s3: s3fs.S3FileSystem, repo: lakefs.Repository, size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    path = f"{repo.id}/main/dir/ü file"
    with fsspec_s3.open(path, "wb") as file:
        file.write(body)
    assert fsspec_s3.info(path)["size"] == size
    assert fsspec_s3.cat(path) == body
    with fsspec_s3.open(path, "rb") as file:
        file.seek(max(size - 5, 0))
        assert file.read() == body[-5:]


def test_s3fs_tree(fsspec_s3: s3fs.S3FileSystem, repo: lakefs.Repository, main: lakefs.Branch) -> None:
    root = f"{repo.id}/main"
    for name in ("a/1", "a/b/2", "c"):
        fsspec_s3.pipe(f"{root}/{name}", b"x")
    assert sorted(fsspec_s3.find(root)) == [f"{root}/a/1", f"{root}/a/b/2", f"{root}/c"]
    assert sorted(fsspec_s3.ls(root, detail=False)) == [f"{root}/a", f"{root}/c"]
    assert sorted(fsspec_s3.glob(f"{root}/a/*")) == [f"{root}/a/1", f"{root}/a/b"]
    assert fsspec_s3.exists(f"{root}/c")
    fsspec_s3.mv(f"{root}/c", f"{root}/d")
    fsspec_s3.rm(f"{root}/a", recursive=True)
    assert [row.path for row in main.objects()] == ["d"]


def test_s3fs_missing(fsspec_s3: s3fs.S3FileSystem, repo: lakefs.Repository) -> None:
    def read() -> Any:
        return fsspec_s3.cat(f"{repo.id}/main/nope")

    with pytest.raises(FileNotFoundError):
        read()
