"""Write, audit, publish and roll back on a running lake: only audited data reaches `main`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import lakefs_sdk
import pytest
from lakefs.exceptions import ForbiddenException, ServerException
from typer.testing import CliRunner

from common.clients.lakefs import INGEST, MAIN, repository
from common.clients.lakefs_protection import ACTION, protect
from common.errors import AuditMissing, BranchOvertaken, ConfigurationError
from common.settings import Settings
from tests.conftest import Stack
from tests.eventually import eventually
from tests.homes import own_home
from tests.runbook.following import FollowedPage
from tickhouse.cli import app
from tickhouse.lake import branches, refs
from tickhouse.lake.branches import commit, ensure_work_branch, head, merge_audited, record_audit
from tickhouse.lake.rollback import rollback

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """A lake of its own with its gate: what these tests publish would disturb others."""
    with own_home() as home:
        found = Stack(home).up("lake_gate")
        eventually(lambda: is_protected(found), timeout_s=30)
        yield found


def is_protected(settings: Settings) -> bool:
    """Ask without a write: until the rule is active (5 s on a real server), one would succeed."""
    try:
        repository(settings).branch(MAIN).reset_changes()
    except lakefs_sdk.exceptions.ForbiddenException:
        return True
    return False


def put(settings: Settings, branch: str, path: str, text: str) -> None:
    repository(settings).branch(branch).object(path).upload(text, mode="w")


def ingest(settings: Settings, name: str) -> str:
    put(settings, INGEST, f"bronze/trades/{name}.parquet", f"bronze {name}")
    return commit(settings, INGEST, f"ingest {name}", {})


def build(settings: Settings, name: str, gold: str = "") -> str:
    """Do a nightly run up to its audit: the branch is ready to publish."""
    branch = f"etl-{name}"
    ensure_work_branch(settings, branch)
    put(settings, branch, f"gold/candles/date={name}/x.parquet", gold or f"gold {name}")
    made = commit(settings, branch, f"build {name}", {"rows": "1"})
    record_audit(settings, branch, of=made, ok=True, report=f"http://docs/{made}")
    return branch


def publish(settings: Settings, name: str, gold: str = "") -> str:
    return merge_audited(settings, build(settings, name, gold), tag=f"daily-{name}")


def tree(settings: Settings, ref: str) -> dict[str, str]:
    return {entry.path: entry.checksum for entry in repository(settings).ref(ref).objects() if entry.path != ACTION}


def test_a_run_moves_main_by_one_tagged_merge_however_often_it_is_repeated(settings: Settings) -> None:
    ingest(settings, "a")
    before = head(settings, MAIN)
    branch = build(settings, "a")
    made = merge_audited(settings, branch, tag="daily-a")

    assert (head(settings, MAIN), head(settings, "daily-a")) == (made, made)
    newest = repository(settings).ref(MAIN).get_commit()
    assert newest.parents == [before, head(settings, branch)]
    assert newest.metadata["audit.ok"] == "true"
    assert newest.metadata["audit.report"].startswith("http://docs/")
    assert tree(settings, MAIN).keys() == {"bronze/trades/a.parquet", "gold/candles/date=a/x.parquet"}
    assert merge_audited(settings, branch, tag="daily-a") == made
    assert publish(settings, "a") == made
    assert [tag.id for tag in repository(settings).tags(prefix="daily-a")] == ["daily-a"]


def test_a_run_killed_between_merge_and_tag_ends_as_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = build(settings, "killed")

    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(branches, "_set_tag", killed)
        with pytest.raises(KeyboardInterrupt):
            merge_audited(settings, branch, tag="daily-killed")
    merged = head(settings, MAIN)
    assert not refs.exists(settings, "daily-killed")
    publish(settings, "later")

    assert merge_audited(settings, branch, tag="daily-killed") == merged
    assert head(settings, "daily-killed") == merged


def test_two_runs_at_once_publish_once(settings: Settings) -> None:
    ingest(settings, "twice")
    branch = build(settings, "twice")
    together = threading.Barrier(4)

    def run() -> str:
        together.wait(30)
        return merge_audited(settings, branch, tag="daily-twice")

    with ThreadPoolExecutor(4) as pool:
        made = {future.result() for future in [pool.submit(run) for _ in range(4)]}

    assert made == {head(settings, MAIN)}
    merges = [one for one in repository(settings).ref(MAIN).log() if one.message == f"Publish {branch}"]
    assert len(merges) == 1


def unaudited(settings: Settings, branch: str) -> None:
    put(settings, branch, "gold/by-hand.txt", "mine")
    commit(settings, branch, "by hand", {})


def failed(settings: Settings, branch: str) -> None:
    unaudited(settings, branch)
    record_audit(settings, branch, of=head(settings, branch), ok=False, report="http://docs/failed")


def written_after(settings: Settings, branch: str) -> None:
    unaudited(settings, branch)
    record_audit(settings, branch, of=head(settings, branch), ok=True, report="")
    put(settings, branch, "gold/by-hand.txt", "changed")
    commit(settings, branch, "after the audit", {})


def smuggled(settings: Settings, branch: str) -> None:
    unaudited(settings, branch)
    put(settings, branch, "gold/smuggled.txt", "in the audit's own commit")
    facts = {"audit.ok": "true", "audit.report": "", "audit.of": head(settings, branch)}
    repository(settings).branch(branch).commit("looks like an audit", metadata=facts)


def borrowed(settings: Settings, branch: str) -> None:
    unaudited(settings, branch)
    facts = {"audit.ok": "true", "audit.report": "", "audit.of": head(settings, MAIN)}
    repository(settings).branch(branch).commit("the audit of another commit", metadata=facts, allow_empty=True)


def failed_on_another_day(settings: Settings, branch: str) -> None:
    unaudited(settings, branch)
    audited = head(settings, branch)
    for day, ok in (("2024-08-08", False), ("2024-08-09", True)):
        record_audit(settings, branch, of=audited, ok=ok, report=f"http://docs/{day}", days=day)


@pytest.mark.parametrize("spoil", [failed_on_another_day, unaudited, failed, written_after, smuggled, borrowed])
def test_what_no_audit_passed_is_refused_to_us_and_to_a_person(
    settings: Settings, spoil: Callable[[Settings, str], None]
) -> None:
    branch = f"person-{spoil.__name__}"
    ensure_work_branch(settings, branch)
    spoil(settings, branch)
    before = head(settings, MAIN)

    with pytest.raises(AuditMissing):
        merge_audited(settings, branch)
    with pytest.raises(ServerException) as refused:  # past our code: what a person with the client does
        repository(settings).branch(branch).merge_into(MAIN)
    assert refused.value.status_code == 412
    assert head(settings, MAIN) == before


def test_main_takes_no_write_commit_or_revert_of_a_person(settings: Settings) -> None:
    before = head(settings, MAIN)
    main = repository(settings).branch(MAIN)
    with pytest.raises(ForbiddenException):
        main.object("gold/x").upload("x", mode="w")
    with pytest.raises(ForbiddenException):
        main.commit("empty", allow_empty=True)
    with pytest.raises(ServerException) as refused:
        main.revert(before, parent_number=1 if len(main.get_commit().parents) > 1 else 0)
    assert refused.value.status_code == 412
    assert head(settings, MAIN) == before


def test_a_run_that_was_overtaken_is_refused_until_it_is_built_again(settings: Settings) -> None:
    ingest(settings, "slow")
    slow = build(settings, "slow", "v1")
    publish(settings, "fast")
    with pytest.raises(BranchOvertaken):
        merge_audited(settings, slow)
    made = publish(settings, "slow", "v2")
    assert head(settings, MAIN) == made
    assert {"gold/candles/date=slow/x.parquet", "gold/candles/date=fast/x.parquet"} <= tree(settings, MAIN).keys()


@pytest.mark.runbook("audit-missing")
def test_a_branch_that_was_overtaken_is_built_again_from_the_newest_main(
    settings: Settings, followed: FollowedPage
) -> None:
    ingest(settings, "late")
    branch = build(settings, "late")
    publish(settings, "earlier")
    ensure_work_branch(settings, "etl-by-hand")
    unaudited(settings, "etl-by-hand")
    for refused, code in ((branch, 24), ("etl-by-hand", 8)):
        answer = CliRunner().invoke(app, ["lake", "merge", refused])
        assert (answer.exit_code, f"More: {followed.path}" in answer.stderr) == (code, True), answer.stderr
    followed.values = {"BRANCH": branch}

    assert "build late" in followed.check()
    followed.repair()

    made = publish(settings, "late")
    assert head(settings, MAIN) == made


def test_a_verdict_counts_only_for_what_the_audit_saw(settings: Settings) -> None:
    branch = "etl-verdict"
    ensure_work_branch(settings, branch)
    put(settings, branch, "gold/verdict", "1")
    audited = commit(settings, branch, "build", {})
    put(settings, branch, "gold/verdict", "2")
    with pytest.raises(AuditMissing, match="written to after"):
        record_audit(settings, branch, of=audited, ok=True, report="")
    committed = commit(settings, branch, "build more", {})
    with pytest.raises(AuditMissing, match="written to after"):
        record_audit(settings, branch, of=audited, ok=True, report="")
    verdict = record_audit(settings, branch, of=committed, ok=True, report="")
    assert record_audit(settings, branch, of=committed, ok=True, report="") == verdict


def test_the_verdict_of_a_day_stays_when_another_day_is_audited(settings: Settings) -> None:
    ingest(settings, "days")
    branch = "etl-two-days"
    ensure_work_branch(settings, branch)
    put(settings, branch, "gold/two-days", "x")
    audited = commit(settings, branch, "build", {"batch.days": "2024-08-08..2024-08-09"})
    before = head(settings, MAIN)

    def judge(day: str, *, ok: bool) -> str:
        of = branches.audited_commit(settings, branch)
        assert of == audited, "the verdicts are about the build, not about each other"
        return record_audit(settings, branch, of=of, ok=ok, report=f"http://docs/{day}", days=day)

    verdict = judge("2024-08-08", ok=False)
    judge("2024-08-09", ok=True)
    kept = [one.id for one in repository(settings).ref(branch).log(max_amount=3)]
    assert kept[1:] == [verdict, audited]
    with pytest.raises(AuditMissing, match="the newest audit of 2024-08-08 failed, see http://docs/2024-08-08"):
        merge_audited(settings, branch)
    with pytest.raises(ServerException) as refused:  # the gate itself, past our code
        repository(settings).branch(branch).merge_into(MAIN)
    assert refused.value.status_code == 412
    assert head(settings, MAIN) == before

    judge("2024-08-08", ok=True)
    merge_audited(settings, branch)
    assert repository(settings).ref(MAIN).get_commit().metadata["audit.days"] == "2024-08-08"


def test_a_day_that_was_built_and_not_audited_is_refused(settings: Settings) -> None:
    branch = "etl-half-audited"
    ensure_work_branch(settings, branch)
    put(settings, branch, "gold/half", "x")
    made = commit(settings, branch, "build", {"batch.days": "2024-08-08..2024-08-09"})
    record_audit(settings, branch, of=made, ok=True, report="http://docs/8", days="2024-08-08")
    with pytest.raises(AuditMissing, match="built 2024-08-09, which no audit covers"):
        merge_audited(settings, branch)
    record_audit(settings, branch, of=made, ok=True, report="http://docs/9", days="2024-08-09")
    assert merge_audited(settings, branch) == head(settings, MAIN)


def test_rollback_gives_back_the_tree_and_the_next_run_gives_back_the_bronze(settings: Settings) -> None:
    ingest(settings, "one")
    first = publish(settings, "one")
    kept = tree(settings, MAIN)
    ingest(settings, "two")
    publish(settings, "two")
    publish(settings, "one", "wrong")
    assert head(settings, "daily-one-2") == head(settings, MAIN)
    wrong = tree(settings, MAIN)

    back = rollback(settings, "daily-one", reason="a wrong figure")
    metadata = repository(settings).ref(back).get_commit().metadata
    kept_of = {name: value for name, value in metadata.items() if name.startswith("rollback.")}
    assert kept_of == {"rollback.reason": "a wrong figure", "rollback.to": "daily-one", "rollback.undone": "2"}
    assert tree(settings, MAIN) == kept
    assert rollback(settings, first) == back
    assert repository(settings).ref(back).get_commit().metadata["audit.report"].startswith("http://docs/")

    ingest(settings, "three")
    publish(settings, "three")
    bronze = {path for path in tree(settings, INGEST) if path.startswith("bronze/")}
    assert bronze <= tree(settings, MAIN).keys()
    assert "gold/candles/date=two/x.parquet" not in tree(settings, MAIN)

    rollback(settings, "daily-one-2")  # forward again, over the rollback
    assert tree(settings, MAIN) == wrong


def test_a_killed_rollback_is_finished_by_the_next_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(settings, "k1")
    publish(settings, "k1")
    kept = tree(settings, MAIN)
    for name in ("k2", "k3"):
        publish(settings, name)

    from tickhouse.lake import rollback as module

    def killed(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    for step in ("record_audit", "merge_audited"):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, killed)
            with pytest.raises(KeyboardInterrupt):
                rollback(settings, "daily-k1")
    made = rollback(settings, "daily-k1")
    assert (head(settings, MAIN), tree(settings, MAIN)) == (made, kept)


def test_rollback_refuses_what_main_never_was(settings: Settings) -> None:
    ensure_work_branch(settings, "aside")
    put(settings, "aside", "gold/aside", "x")
    commit(settings, "aside", "aside", {})
    before = head(settings, MAIN)
    with pytest.raises(ConfigurationError, match="not in the history"):
        rollback(settings, "aside")
    with pytest.raises(ConfigurationError):
        rollback(settings, "nowhere")
    assert head(settings, MAIN) == before


def test_protection_is_set_once_and_follows_the_gate(settings: Settings) -> None:
    before = head(settings, MAIN), head(settings, INGEST)
    protect(settings)
    assert (head(settings, MAIN), head(settings, INGEST)) == before

    moved = settings.model_copy(update={"lake_gate_url": f"{settings.lake_gate_url}/"})
    protect(moved)
    for branch in (MAIN, INGEST):
        with repository(settings).branch(branch).object(ACTION).reader(mode="r") as reader:
            assert f"{moved.lake_gate_url}/publish" in reader.read()
    eventually(lambda: is_protected(settings), timeout_s=30)
    protect(settings)
    eventually(lambda: is_protected(settings), timeout_s=30)


def test_tags_never_move(settings: Settings) -> None:
    now = head(settings, INGEST)
    assert branches.tag(settings, "mark", INGEST) == "mark"
    later = ingest(settings, "tagged")
    assert branches.tag(settings, "mark", INGEST) == "mark-2"
    assert (head(settings, "mark"), head(settings, "mark-2")) == (now, later)
    assert branches.tag(settings, "mark", now) == "mark"
    assert not refs.exists(settings, "nowhere")
