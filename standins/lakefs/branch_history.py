"""Operations that move a branch (commit, merge, revert, cherry-pick, hard reset), and the log.

Each operation takes the branch's lock, builds new trees in memory, records the commit, runs the
pre-event hooks, and moves the head. Moving the head is one transaction that checks that the head is
still the one it started from (compare-and-swap). Writes of objects never wait for this lock: a
commit consumes only the staging rows that it saw, by sequence number, and later rows stay
uncommitted.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pygit2

from standins.lakefs import api_errors
from standins.lakefs.actions import Actions, HookEvent
from standins.lakefs.git_store import Pending
from standins.lakefs.model import Branch, Commit, Core, ReferenceView, Repository, ResolvedReference, find_commit
from standins.lakefs.objects import LakeObjects
from standins.lakefs.references import NewCommit, References, build_commit, insert_commit
from standins.lakefs.tree_merge import MergeRequest, three_way

STRATEGIES = {"": "default", "source-wins": "source-wins", "dest-wins": "dest-wins"}


@dataclass(frozen=True)
class CommitOverrides:
    """The message and metadata that a caller may set for a revert or cherry-pick."""

    message: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Transplant:
    """Apply (or `undo`) the changes of one commit on a branch; `number` is the 1-based parent."""

    kind: str
    target: Commit
    number: int
    undo: bool
    allow_empty: bool = True


class BranchHistory:
    """Moves branches and reads their log."""

    def __init__(self, core: Core, references: References, objects: LakeObjects, actions: Actions) -> None:
        self._core = core
        self._references = references
        self._objects = objects
        self._actions = actions

    # -- commit ------------------------------------------------------------------------------------

    def commit(self, repository: str, branch: str, new: NewCommit, *, allow_empty: bool = False) -> Commit:
        """Commit a branch's staging area.

        Raises:
            Refusal: 404 missing, 403 protected or read-only, 400 without changes, 412 when a
                pre-commit hook fails.
        """
        with self._core.moving(repository, branch) as pending:
            repo, target = self._movable(repository, branch)
            if repo.is_protected(branch):
                raise api_errors.forbidden("cannot commit to protected branch", "ErrWriteToProtectedBranch")
            event = _event(repo, branch, branch, new)
            self._actions.fire("prepare-commit", event)
            run = self._actions.fire("pre-commit", event)
            with self._core.database.snapshot() as connection:
                seen = connection.execute("SELECT max(seq) FROM staging WHERE branch = ?", (target.id,)).fetchone()[0]
                head = self._head(connection, repository, target)
                edits = {
                    change.path: change.pointer for change in self._objects.changes(ReferenceView(head.tree, target.id))
                }
            if not edits and not allow_empty:
                raise api_errors.NoChanges("commit: no changes")
            tree = self._core.trees.apply(head.tree, edits)
            commit = build_commit(self._core, tree, [head], new)
            self._advance(repository, target, commit, pending, consumed=seen or 0)
        self._actions.fire("post-commit", replace(_event(repo, branch, commit.id, new), commit_id=commit.id), run)
        return commit

    def _movable(self, repository: str, branch: str) -> tuple[Repository, Branch]:
        repo = self._references.repository(repository)
        if repo.read_only:
            raise api_errors.forbidden("read-only repository", "ErrReadOnlyRepository")
        return repo, self._references.branch(repository, branch)

    @staticmethod
    def _head(connection: sqlite3.Connection, repository: str, branch: Branch) -> Commit:
        commit = find_commit(connection, repository, branch.head)
        if commit is None:
            raise api_errors.not_found("commit not found")
        return commit

    def _record(self, repository: str, commit: Commit, pending: Pending) -> None:
        """Write a commit that no branch points to yet, so that a hook can read it by its id."""
        with self._core.database.write() as connection:
            self._core.git.flush(connection, pending)
            insert_commit(connection, repository, commit)

    def _advance(self, repository: str, branch: Branch, commit: Commit, pending: Pending, consumed: int = 0) -> None:
        """Record the commit, move the branch, delete consumed staging rows: one transaction."""
        with self._core.database.write() as connection:
            self._core.git.flush(connection, pending)
            insert_commit(connection, repository, commit)
            moved = connection.execute(
                "UPDATE branches SET head = ? WHERE id = ? AND head = ?", (commit.id, branch.id, branch.head)
            )
            if moved.rowcount != 1:
                raise api_errors.conflict(f"branch {branch.name} was moved by another operation, try again")
            if consumed:
                connection.execute("DELETE FROM staging WHERE branch = ? AND seq <= ?", (branch.id, consumed))

    # -- merge, revert, cherry-pick ----------------------------------------------------------------

    def merge(self, repository: str, source: str, destination: str, request: MergeRequest) -> Commit:
        """Merge a reference into a branch; uncommitted changes of the source are ignored.

        Raises:
            Refusal: 404 missing, 400 dirty destination or nothing to merge, 409 conflict, 412 when
                a hook fails.
        """
        if request.strategy not in STRATEGIES:
            raise api_errors.bad_request("argument strategy: invalid value: validation error")
        if source == destination:
            raise api_errors.bad_request("source and destination branches are the same: same branch validation error")
        with self._core.moving(repository, destination) as pending:
            repo, target = self._movable(repository, destination)
            ours = self._clean_head(repository, target)
            theirs = self._references.resolve(repository, source).commit
            tree = self._merged_tree(ours, theirs, self._merge_base(repository, theirs, ours), request, destination)
            metadata = {**request.new.metadata, ".lakefs.merge.strategy": STRATEGIES[request.strategy]}
            message = request.new.message or f"Merge '{source}' into '{destination}'"
            new = replace(request.new, message=message, metadata=metadata)
            commit = build_commit(self._core, tree, [ours] if request.squash else [ours, theirs], new)
            self._record(repository, commit, pending)
            event = _event(repo, destination, theirs.id, new, commit_id=commit.id, merge_source=source)
            try:
                run = self._actions.fire("pre-merge", event)
            except api_errors.HookFailed as error:
                raise api_errors.Refusal(
                    error.status, f"update branch {destination}: {error.message}", error.code
                ) from error
            self._advance(repository, target, commit, pending)
        self._actions.fire("post-merge", replace(event, source_ref=commit.id), run)
        return commit

    def _merged_tree(
        self, ours: Commit, theirs: Commit, base: Commit, request: MergeRequest, destination: str
    ) -> bytes:
        result = three_way(
            self._core,
            self._objects,
            base=base.tree,
            source=theirs.tree,
            destination=ours.tree,
            strategy=request.strategy,
        )
        if not result.source_changes and not (request.allow_empty or request.force):
            raise api_errors.NoChanges(f"update branch {destination}: no changes")
        return result.tree(self._core, ours.tree)

    def _clean_head(self, repository: str, branch: Branch) -> Commit:
        with self._core.database.snapshot() as connection:
            head = self._head(connection, repository, branch)
            if self._objects.is_dirty(connection, branch, head.tree):
                raise api_errors.DirtyBranch
        return head

    def _merge_base(self, repository: str, left: Commit, right: Commit) -> Commit:
        base = self._core.git.repository.merge_base(pygit2.Oid(raw=left.git), pygit2.Oid(raw=right.git))
        if base is None:
            raise api_errors.bad_request("no merge base")
        return self._by_git(repository, base.raw)

    def merge_base(self, repository: str, left: Commit, right: Commit) -> Commit:
        """Return the best common ancestor of two commits."""
        return self._merge_base(repository, left, right)

    def _by_git(self, repository: str, git: bytes) -> Commit:
        query = "SELECT id FROM commits WHERE repository = ? AND git = ?"
        connection = self._core.database.reader()
        row = connection.execute(query, (repository, git)).fetchone()
        commit = find_commit(connection, repository, row[0]) if row else None
        if commit is None:
            raise api_errors.not_found("commit not found")
        return commit

    def revert(
        self, repository: str, branch: str, ref: str, *, parent_number: int, new: NewCommit, allow_empty: bool
    ) -> Commit:
        """Undo a commit on a branch by a new commit.

        Raises:
            Refusal: 400 dirty branch, bad parent or no changes, 409 conflict or a merge commit
                without parent number.
        """
        target = self._references.resolve(repository, ref).commit
        if len(target.parents) > 1 and parent_number <= 0:
            raise api_errors.conflict("must specify 1-based parent number for reverting merge commit")
        plan = _Transplant("revert", target, max(parent_number, 1), undo=True, allow_empty=allow_empty)
        return self._transplant(repository, branch, plan, new)

    def cherry_pick(
        self,
        repository: str,
        branch: str,
        ref: str,
        *,
        parent_number: int | None,
        committer: str,
        overrides: CommitOverrides,
    ) -> Commit:
        """Repeat a commit's changes on a branch.

        Raises:
            Refusal: 400 dirty branch, bad parent or a merge commit without parent number, 409
                conflict.
        """
        target = self._references.resolve(repository, ref).commit
        if parent_number is None and len(target.parents) > 1:
            raise api_errors.bad_request("must specify 1-based parent number for cherry-picking merge commit")
        origin = {"cherry-pick-origin": target.id, "cherry-pick-committer": target.committer}
        metadata = {**(overrides.metadata or target.metadata), **origin}
        new = NewCommit(overrides.message or target.message, committer, metadata, self._core.now())
        number = 1 if parent_number is None else parent_number
        return self._transplant(repository, branch, _Transplant("cherry-pick", target, number, undo=False), new)

    def _transplant(self, repository: str, branch: str, plan: _Transplant, new: NewCommit) -> Commit:
        with self._core.moving(repository, branch) as pending:
            repo, target_branch = self._movable(repository, branch)
            head = self._clean_head(repository, target_branch)
            parent_tree = self._parent_tree(repository, plan.target, plan.number)
            before, after = (plan.target.tree, parent_tree) if plan.undo else (parent_tree, plan.target.tree)
            result = three_way(self._core, self._objects, base=before, source=after, destination=head.tree)
            tree = result.tree(self._core, head.tree)
            if tree == head.tree and not plan.allow_empty:
                raise api_errors.NoChanges("update branch: no changes")
            commit = build_commit(self._core, tree, [head], new)
            run = self._actions.fire(f"pre-{plan.kind}", _event(repo, branch, branch, new))
            self._advance(repository, target_branch, commit, pending)
        self._actions.fire(f"post-{plan.kind}", _event(repo, branch, commit.id, new, commit_id=commit.id), run)
        return commit

    def _parent_tree(self, repository: str, target: Commit, number: int) -> bytes:
        if not target.parents and number == 1:
            return self._core.trees.empty()
        if not 1 <= number <= len(target.parents):
            raise api_errors.bad_request(f"parent {number}: given commit does not have the given parent number")
        parent = find_commit(self._core.database.reader(), repository, target.parents[number - 1])
        if parent is None:
            raise api_errors.not_found("commit not found")
        return parent.tree

    def hard_reset(self, repository: str, branch: str, ref: str) -> Commit:
        """Move a branch to any commit.

        Raises:
            Refusal: 404 missing, 403 protected, 400 with uncommitted changes.
        """
        with self._core.moving(repository, branch) as pending:
            repo, target_branch = self._movable(repository, branch)
            if repo.is_protected(branch):
                raise api_errors.forbidden("protected branch", "ErrWriteToProtectedBranch")
            self._clean_head(repository, target_branch)
            target = self._references.resolve(repository, ref).commit
            self._advance(repository, target_branch, target, pending)
        return target

    # -- log ---------------------------------------------------------------------------------------

    def log(self, found: ResolvedReference, *, first_parent: bool = False) -> Iterator[Commit]:
        """Yield the commits of a reference, newest first, children before parents."""
        if first_parent:
            yield from self._first_parents(found)
            return
        yield from self._by_generation(found)

    def _by_generation(self, found: ResolvedReference) -> Iterator[Commit]:
        """Yield commits by generation, highest first; a child's is higher than its parents'."""
        reader, repository = self._core.database.reader(), found.repository.name
        waiting, seen = [_rank(found.commit)], {found.commit.id}
        while waiting:
            commit = heapq.heappop(waiting)[-1]
            yield commit
            for parent in commit.parents:
                if parent not in seen and (older := find_commit(reader, repository, parent)):
                    seen.add(parent)
                    heapq.heappush(waiting, _rank(older))

    def _first_parents(self, found: ResolvedReference) -> Iterator[Commit]:
        commit: Commit | None = found.commit
        while commit:
            yield commit
            reader = self._core.database.reader()
            commit = find_commit(reader, found.repository.name, commit.parents[0]) if commit.parents else None


def _rank(commit: Commit) -> tuple[int, int, str, Commit]:
    return -commit.generation, -commit.created, commit.id, commit


def _event(
    repo: Repository, branch: str, source_ref: str, new: NewCommit, *, commit_id: str = "", merge_source: str = ""
) -> HookEvent:
    return HookEvent(repo.name, branch, source_ref, new.message, new.committer, new.metadata, commit_id, merge_source)
