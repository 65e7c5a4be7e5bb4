"""The nightly copy to HDFS happens where it was asked for, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from tickhouse.dag_tasks import nightly_batch
from tickhouse.lake.hdfs_export import HdfsExport


@pytest.mark.parametrize("store", ["local", "minio"])
def test_without_hdfs_nothing_is_copied(monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    monkeypatch.setenv("LAKE_STORE", store)

    with pytest.raises(AirflowSkipException, match=store):
        nightly_batch.export({"commit_id": "c1"})


def test_the_merge_is_copied_to_hdfs(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []

    def copy(_: Any, ref: str) -> HdfsExport:
        copied.append(ref)
        return HdfsExport(ref, f"/lake/{ref}", 3, 4096)

    monkeypatch.setenv("LAKE_STORE", "hdfs")
    monkeypatch.setattr("tickhouse.lake.hdfs_export.export", copy)

    assert nightly_batch.export({"commit_id": "c1"})["path"] == "/lake/c1"
    assert copied == ["c1"]
