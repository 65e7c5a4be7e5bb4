"""Server, repositories, branches, tags, protection."""

from __future__ import annotations

import http.client
from typing import Any

import lakefs
import lakefs_sdk
import pytest
from lakefs.client import Client
from lakefs.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotAuthorizedException,
    NotFoundException,
    PermissionException,
)

from tests.contract.conftest import new_name
from tests.contract.server import Endpoint, call_api
from tests.eventually import eventually


def message_of(error: pytest.ExceptionInfo[Any]) -> str:
    return str(error.value.body["message"])


def test_health_needs_no_credentials(endpoint: Endpoint) -> None:
    connection = http.client.HTTPConnection(endpoint.address, timeout=10)
    connection.request("GET", "/api/v1/healthcheck")
    assert connection.getresponse().status == 204
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"), [({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)]
)
def test_no_foreign_page_may_use_the_stand_in(endpoint: Endpoint, headers: dict[str, str], status: int) -> None:
    if not endpoint.is_standin:
        pytest.skip("real lakeFS looks at neither header")
    assert call_api(endpoint, "GET", "/repositories", headers=headers)[0] == status


def test_config_turns_presigning_off(client: Client) -> None:
    config = client.sdk_client.config_api.get_config()
    assert config.storage_config.pre_sign_support is False
    assert config.version_config.version


def test_wrong_secret_is_401(endpoint: Endpoint) -> None:
    wrong = Client(host=endpoint.url, username=endpoint.access_key, password="wrong")
    with pytest.raises(NotAuthorizedException) as error:
        lakefs.Repository("any", client=wrong).properties  # noqa: B018  # the property calls the server
    assert error.value.status_code == 401
    assert message_of(error) == "error authenticating request"


def test_login_token_is_accepted(endpoint: Endpoint, client: Client) -> None:
    login = lakefs_sdk.LoginInformation(access_key_id=endpoint.access_key, secret_access_key=endpoint.secret_key)
    token = client.sdk_client.auth_api.login(login).token
    configuration = lakefs_sdk.Configuration(host=f"{endpoint.url}/api/v1", access_token=token)
    api = lakefs_sdk.RepositoriesApi(lakefs_sdk.ApiClient(configuration))
    assert api.list_repositories().pagination.results >= 0
    configuration.access_token = token[:-1] + ("0" if token[-1] != "0" else "1")
    with pytest.raises(lakefs_sdk.exceptions.UnauthorizedException):
        api.list_repositories()


def test_unknown_endpoint_is_a_typed_error(endpoint: Endpoint) -> None:
    if not endpoint.is_standin:
        pytest.skip("what real lakeFS does not know, it answers with its UI")
    status, body, _ = call_api(endpoint, "GET", "/repositories/x/no/such/call")
    assert status == 501
    assert "not implemented by the lakeFS stand-in" in body["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": "x"}', b'{"name": "\xff"}'])
def test_malformed_body_is_400(endpoint: Endpoint, body: bytes) -> None:
    assert call_api(endpoint, "POST", "/repositories", body)[0] == 400


def test_current_user(client: Client) -> None:
    assert client.sdk_client.auth_api.get_current_user().user.id


# -- repositories ----------------------------------------------------------------------------------


def test_create_repository(repo: lakefs.Repository) -> None:
    assert repo.properties.id == repo.id
    assert repo.properties.default_branch == "main"
    log = list(repo.branch("main").log())
    assert [commit.message for commit in log] == ["Repository created"]
    assert log[0].parents == []


def test_create_repository_twice_is_409(repo: lakefs.Repository, client: Client) -> None:
    with pytest.raises(ConflictException) as error:
        lakefs.Repository(repo.id, client=client).create(storage_namespace=f"local://{new_name()}")
    assert message_of(error) == "error creating repository: not unique"
    again = lakefs.Repository(repo.id, client=client).create(storage_namespace="local://other", exist_ok=True)
    assert again.properties.storage_namespace == repo.properties.storage_namespace


def test_storage_namespace_in_use_is_400(repo: lakefs.Repository, client: Client) -> None:
    with pytest.raises(BadRequestException) as error:
        lakefs.Repository(new_name(), client=client).create(storage_namespace=repo.properties.storage_namespace)
    assert message_of(error).endswith("storage namespace already in use")


@pytest.mark.parametrize("name", ["UPPER", "ab", "with_underscore", "-dash", "dot.ted", "x" * 64])
def test_bad_repository_name_is_400(endpoint: Endpoint, name: str) -> None:
    body = {"name": name, "storage_namespace": f"local://{new_name()}"}
    status, answer, _ = call_api(endpoint, "POST", "/repositories", body)
    assert (status, bool(answer["message"])) == (400, True)


def test_other_default_branch(client: Client) -> None:
    name = new_name()
    repo = lakefs.Repository(name, client=client).create(f"local://{name}", default_branch="trunk")
    assert [branch.id for branch in repo.branches()] == ["trunk"]
    repo.delete()


def test_missing_repository_is_404(client: Client) -> None:
    with pytest.raises(NotFoundException):
        lakefs.Repository(new_name(), client=client).properties  # noqa: B018  # the property calls the server


def test_list_repositories_pages(client: Client) -> None:
    prefix = new_name("page")
    made = [lakefs.Repository(f"{prefix}-{i}", client=client).create(f"local://{prefix}-{i}") for i in range(5)]
    api = client.sdk_client.repositories_api
    first = api.list_repositories(prefix=prefix, amount=2)
    assert [row.id for row in first.results] == [made[0].id, made[1].id]
    assert first.pagination.has_more
    rest = api.list_repositories(prefix=prefix, amount=10, after=first.pagination.next_offset)
    assert [row.id for row in rest.results] == [repo.id for repo in made[2:]]
    assert not rest.pagination.has_more
    assert [row.id for row in lakefs.repositories(client, prefix=prefix)] == [repo.id for repo in made]
    for repo in made:
        repo.delete()


def test_delete_repository(client: Client) -> None:
    name = new_name()
    repo = lakefs.Repository(name, client=client).create(f"local://{name}")
    repo.branch("main").object("a").upload(b"1")
    repo.delete()

    def is_gone() -> bool:
        try:
            list(repo.branches())
        except NotFoundException:
            return True
        return False

    # The real server caches repositories for some seconds.
    eventually(is_gone, timeout_s=15)


def test_repository_metadata(repo: lakefs.Repository, client: Client) -> None:
    api = client.sdk_client
    api.internal_api.set_repository_metadata(repo.id, lakefs_sdk.RepositoryMetadataSet(metadata={"a": "1", "b": "2"}))
    assert repo.metadata == {"a": "1", "b": "2"}
    keys = lakefs_sdk.RepositoryMetadataKeys(keys=["a"])
    api.internal_api.delete_repository_metadata(repo.id, keys)
    assert repo.metadata == {"b": "2"}


# -- branches --------------------------------------------------------------------------------------


def test_create_branch(repo: lakefs.Repository, main: lakefs.Branch) -> None:
    main.object("uncommitted").upload(b"1")
    branch = repo.branch("dev").create("main")
    assert branch.head.id == main.head.id
    assert list(branch.objects()) == [], "a branch starts from the commit, not from uncommitted changes"


def test_branch_that_exists_is_409(repo: lakefs.Repository) -> None:
    repo.branch("dev").create("main")
    with pytest.raises(ConflictException) as error:
        repo.branch("dev").create("main")
    assert message_of(error) == "branch already exists: not unique"
    repo.branch("dev").create("main", exist_ok=True)


def test_branch_from_missing_ref_is_404(repo: lakefs.Repository) -> None:
    with pytest.raises(NotFoundException) as error:
        repo.branch("dev").create("nope")
    assert message_of(error) == "source reference 'nope': not found"


@pytest.mark.parametrize("name", ["a/b", "-a", "a b", "ü", "a.b"])
def test_bad_branch_name_is_400(repo: lakefs.Repository, name: str) -> None:
    with pytest.raises(BadRequestException) as error:
        repo.branch(name).create("main")
    assert "branch id: invalid value" in message_of(error)


def test_list_branches_pages(repo: lakefs.Repository) -> None:
    for name in ("b1", "b2", "c1"):
        repo.branch(name).create("main")
    assert [branch.id for branch in repo.branches()] == ["b1", "b2", "c1", "main"]
    assert [branch.id for branch in repo.branches(prefix="b")] == ["b1", "b2"]
    assert [branch.id for branch in repo.branches(after="b2", max_amount=1)] == ["c1"]


def test_delete_branch_drops_its_changes(repo: lakefs.Repository) -> None:
    branch = repo.branch("dev").create("main")
    branch.object("a").upload(b"1")
    branch.delete()
    with pytest.raises(NotFoundException):
        branch.get_commit()
    assert list(repo.branch("dev").create("main").objects()) == []


def test_default_branch_cannot_be_deleted(main: lakefs.Branch) -> None:
    with pytest.raises(ForbiddenException) as error:
        main.delete()
    assert message_of(error) == "cannot delete repository default branch"


# -- tags and reference expressions ----------------------------------------------------------------


def test_tags(repo: lakefs.Repository, main: lakefs.Branch, commit_file: Any) -> None:
    first = commit_file()
    tag = repo.tag("v1.0").create("main")
    commit_file()
    assert tag.get_commit().id == first
    assert [row.id for row in repo.tags()] == ["v1.0"]
    with pytest.raises(ConflictException) as error:
        repo.tag("v1.0").create("main")
    assert message_of(error) == "tag already exists: not unique"
    with pytest.raises(NotFoundException):
        repo.tag("v2").create("nope")
    tag.delete()
    with pytest.raises(NotFoundException):
        repo.tag("v1.0").get_commit()


@pytest.mark.parametrize("name", ["a/b", "a..b", "a.lock", "a b", "a^", "@"])
def test_bad_tag_name_is_400(repo: lakefs.Repository, name: str) -> None:
    with pytest.raises(BadRequestException):
        repo.tag(name).create("main")


def test_reference_expressions(repo: lakefs.Repository, main: lakefs.Branch, commit_file: Any) -> None:
    ids = [commit_file(path="f", body=str(i)) for i in range(3)]
    main.object("f").upload(b"staged")
    assert repo.ref("main~1").get_commit().id == ids[1]
    assert repo.ref("main~2").get_commit().id == ids[0]
    assert repo.ref("main^").get_commit().id == ids[1]
    assert repo.ref(ids[2][:12]).get_commit().id == ids[2]
    assert repo.ref("main@").object("f").reader().read() == b"2"
    assert repo.ref("main").object("f").reader().read() == b"staged"
    assert repo.ref(f"{ids[2]}~1").object("f").reader().read() == b"1"
    with pytest.raises(NotFoundException):
        repo.ref("main~99").get_commit()


# -- protection ------------------------------------------------------------------------------------


def protect(client: Client, repo: lakefs.Repository, *patterns: str) -> None:
    rules = [lakefs_sdk.BranchProtectionRule(pattern=pattern) for pattern in patterns]
    client.sdk_client.repositories_api.set_branch_protection_rules(repo.id, rules)


def is_refused(branch: lakefs.Branch) -> bool:
    try:
        branch.object("probe").upload(b"1")
    except ForbiddenException:
        return True
    branch.reset_changes()
    return False


def test_protected_branch_moves_by_merge_only(
    client: Client, repo: lakefs.Repository, main: lakefs.Branch, s3: Any, commit_file: Any
) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="a")
    protect(client, repo, "main")
    rules = client.sdk_client.repositories_api.get_branch_protection_rules(repo.id)
    assert [rule.pattern for rule in rules] == ["main"]
    # Real lakeFS caches the rules for about 5 s; the stand-in applies them at once.
    eventually(lambda: is_refused(main), timeout_s=15)
    with pytest.raises(ForbiddenException) as write:
        main.object("b").upload(b"1")
    assert message_of(write) == "cannot write to protected branch"
    with pytest.raises(ForbiddenException) as commit:
        main.commit("no", allow_empty=True)
    assert message_of(commit) == "cannot commit to protected branch"
    with pytest.raises(PermissionException):
        main.object("a").delete()
    with pytest.raises(lakefs_sdk.exceptions.ForbiddenException):
        main.reset_changes()
    with pytest.raises(s3.exceptions.ClientError) as gateway:
        s3.put_object(Bucket=repo.id, Key="main/b", Body=b"1")
    assert gateway.value.response["Error"]["Code"] == "ErrWriteToProtectedBranch"
    assert gateway.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    dev.merge_into("main")
    assert main.object("a").exists()


def test_protection_patterns(client: Client, repo: lakefs.Repository) -> None:
    release, other = repo.branch("release-1").create("main"), repo.branch("rel").create("main")
    protect(client, repo, "release-*")
    eventually(lambda: is_refused(release), timeout_s=15)
    assert not is_refused(other)
    release.delete()  # the protection is for the content, not the name


def test_dirty_changes_before_protection_block_merges(
    client: Client, repo: lakefs.Repository, main: lakefs.Branch, commit_file: Any
) -> None:
    dev = repo.branch("dev").create("main")
    commit_file(dev, path="a")
    main.object("left-over").upload(b"1")
    protect(client, repo, "main")
    with pytest.raises(BadRequestException) as error:
        dev.merge_into("main")
    assert "uncommitted changes (dirty branch)" in message_of(error)
    protect(client, repo)

    def resets() -> bool:
        try:
            main.reset_changes()
        except lakefs_sdk.exceptions.ForbiddenException:
            return False
        return True

    eventually(resets, timeout_s=15)
    dev.merge_into("main")


def test_rules_of_garbage_collection(repo: lakefs.Repository, client: Client) -> None:
    api = client.sdk_client.repositories_api
    with pytest.raises(lakefs_sdk.ApiException) as missing:
        api.get_gc_rules(repo.id)
    assert missing.value.status == 404
    branches = [lakefs_sdk.GarbageCollectionRule(branch_id="main", retention_days=28)]
    api.set_gc_rules(repo.id, lakefs_sdk.GarbageCollectionRules(default_retention_days=21, branches=branches))
    found = api.get_gc_rules(repo.id)
    assert (found.default_retention_days, found.branches) == (21, branches)
    api.delete_gc_rules(repo.id)
    with pytest.raises(lakefs_sdk.ApiException):
        api.get_gc_rules(repo.id)
