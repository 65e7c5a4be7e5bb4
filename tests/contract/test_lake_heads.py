"""The heads of branches over HTTP are those that the official SDK reads."""

from __future__ import annotations

import lakefs
import pytest

from common.clients.lake_heads import Head, LakeHeads
from common.errors import StoreUnavailable
from common.settings import Settings
from tests.contract.server import Endpoint


def heads(endpoint: Endpoint, repository: str) -> LakeHeads:
    settings = Settings(
        lakefs_endpoint=endpoint.url,
        lakefs_access_key_id=endpoint.access_key,
        lakefs_secret_access_key=endpoint.secret_key,
        lake_repository=repository,
    )
    return LakeHeads(settings, 10.0)


def test_a_head_is_that_of_the_sdk(endpoint: Endpoint, repo: lakefs.Repository) -> None:
    branch = repo.branch("etl-b").create("main")
    repo.branch("etl-a").create("main")
    branch.object("a/b").upload(b"1")
    commit = branch.commit("Add one", metadata={"rows": '{"trades": 1}'}).get_commit()

    with heads(endpoint, repo.id) as reader:
        assert reader.branches("etl-") == ["etl-a", "etl-b"]
        wanted = Head(commit.id, commit.creation_date, "Add one", {"rows": '{"trades": 1}'})
        assert reader.head("etl-b") == wanted
        assert reader.head("main").id == repo.ref("main").get_commit().id
        with pytest.raises(StoreUnavailable, match="404"):
            reader.head("etl-c")
