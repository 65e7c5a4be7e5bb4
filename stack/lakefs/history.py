"""What moves a branch: commit, merge, revert, cherry-pick, hard reset; and the log.

Each takes the branch's lock, builds new trees in memory, records the commit, lets the pre-event hooks speak, and moves
the head in one transaction that checks the head it started from (compare-and-swap). Plain writes never wait for it: a
commit consumes only the staging rows it saw, by sequence number, and what came later stays uncommitted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pygit2

from stack.lakefs import refusals
from stack.lakefs.actions import Actions, Event
from stack.lakefs.gitstore import Pending
from stack.lakefs.merging import MergeRequest, three_way
from stack.lakefs.model import Branch, Commit, Core, Repository, Resolved, View, find_commit
from stack.lakefs.objects import Objects
from stack.lakefs.references import NewCommit, References, build_commit, insert_commit

STRATEGIES = {"": "default", "source-wins": "source-wins", "dest-wins": "dest-wins"}


@dataclass(frozen=True)
class Overrides:
    """What a revert or cherry-pick may replace in its commit."""

    message: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plan:
    """How to carry one commit's changes, or their undoing, to a branch; `number` is the 1-based parent."""

    kind: str
    target: Commit
    number: int
    undo: bool
    allow_empty: bool = True


class History:
    """Moves branches and reads their past."""

    def __init__(self, core: Core, references: References, objects: Objects, actions: Actions) -> None:
        self._core = core
        self._references = references
        self._objects = objects
        self._actions = actions

    # -- commit --------------------------------------------------------------------------------------------------

    def commit(self, repository: str, branch: str, new: NewCommit, *, allow_empty: bool = False) -> Commit:
        """Commit a branch's staging area.

        Raises:
            Refusal: 404 missing, 403 protected or read-only, 400 without changes, 412 when a pre-commit hook fails.
        """
        with self._core.lock(repository, branch), self._core.git.batch() as pending:
            repo, found = self._movable(repository, branch)
            if repo.is_protected(branch):
                raise refusals.forbidden("cannot commit to protected branch", "ErrWriteToProtectedBranch")
            event = _event(repo, branch, branch, new)
            self._actions.fire("prepare-commit", event)
            run = self._actions.fire("pre-commit", event)
            with self._core.database.snapshot() as connection:
                seen = connection.execute("SELECT max(seq) FROM staging WHERE branch = ?", (found.id,)).fetchone()[0]
                head = self._head(connection, repository, found)
                edits = {change.path: change.pointer for change in self._objects.changes(View(head.tree, found.id))}
            if not edits and not allow_empty:
                raise refusals.NoChanges("commit: no changes")
            tree = self._core.trees.apply(head.tree, edits)
            commit = build_commit(self._core, tree, [head], new)
            self._advance(repository, found, commit, pending, consumed=seen or 0)
        self._actions.fire("post-commit", replace(_event(repo, branch, commit.id, new), commit_id=commit.id), run)
        return commit

    def _movable(self, repository: str, branch: str) -> tuple[Repository, Branch]:
        repo = self._references.repository(repository)
        if repo.read_only:
            raise refusals.forbidden("read-only repository", "ErrReadOnlyRepository")
        return repo, self._references.branch(repository, branch)

    @staticmethod
    def _head(connection: sqlite3.Connection, repository: str, branch: Branch) -> Commit:
        commit = find_commit(connection, repository, branch.head)
        if commit is None:
            raise refusals.not_found("commit not found")
        return commit

    def _record(self, repository: str, commit: Commit, pending: Pending) -> None:
        """Write a commit that no branch points at yet, so that a hook can read it by its id."""
        with self._core.database.write() as connection:
            self._core.git.flush(connection, pending)
            insert_commit(connection, repository, commit)

    def _advance(self, repository: str, branch: Branch, commit: Commit, pending: Pending, consumed: int = 0) -> None:
        """Record the commit, move the branch from the head we saw, drop consumed staging: all or nothing."""
        with self._core.database.write() as connection:
            self._core.git.flush(connection, pending)
            insert_commit(connection, repository, commit)
            moved = connection.execute(
                "UPDATE branches SET head = ? WHERE id = ? AND head = ?", (commit.id, branch.id, branch.head)
            )
            if moved.rowcount != 1:
                raise refusals.conflict(f"branch {branch.name} moved meanwhile, try again")
            if consumed:
                connection.execute("DELETE FROM staging WHERE branch = ? AND seq <= ?", (branch.id, consumed))

    # -- merge, revert, cherry-pick ------------------------------------------------------------------------------

    def merge(self, repository: str, source: str, destination: str, request: MergeRequest) -> Commit:
        """Merge a reference's commits into a branch; the source's uncommitted changes are ignored.

        Raises:
            Refusal: 404 missing, 400 dirty destination or nothing to merge, 409 conflict, 412 when a hook fails.
        """
        if request.strategy not in STRATEGIES:
            raise refusals.bad_request("argument strategy: invalid value: validation error")
        if source == destination:
            raise refusals.bad_request("source and destination branches are the same: same branch validation error")
        with self._core.lock(repository, destination), self._core.git.batch() as pending:
            repo, found = self._movable(repository, destination)
            ours = self._clean_head(repository, found)
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
            except refusals.HookFailed as error:
                raise refusals.Refusal(
                    error.status, f"update branch {destination}: {error.message}", error.code
                ) from error
            self._advance(repository, found, commit, pending)
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
            raise refusals.NoChanges(f"update branch {destination}: no changes")
        return result.tree(self._core, ours.tree)

    def _clean_head(self, repository: str, branch: Branch) -> Commit:
        with self._core.database.snapshot() as connection:
            head = self._head(connection, repository, branch)
            if self._objects.is_dirty(connection, branch, head.tree):
                raise refusals.DirtyBranch
        return head

    def _merge_base(self, repository: str, left: Commit, right: Commit) -> Commit:
        found = self._core.git.repository.merge_base(pygit2.Oid(raw=left.git), pygit2.Oid(raw=right.git))
        if found is None:
            raise refusals.bad_request("no merge base")
        return self._by_git(repository, found.raw)

    def merge_base(self, repository: str, left: Commit, right: Commit) -> Commit:
        """Return the best common ancestor of two commits."""
        return self._merge_base(repository, left, right)

    def _by_git(self, repository: str, git: bytes) -> Commit:
        query = "SELECT id FROM commits WHERE repository = ? AND git = ?"
        connection = self._core.database.reader()
        row = connection.execute(query, (repository, git)).fetchone()
        commit = find_commit(connection, repository, row[0]) if row else None
        if commit is None:
            raise refusals.not_found("commit not found")
        return commit

    def revert(
        self, repository: str, branch: str, ref: str, *, parent_number: int, new: NewCommit, allow_empty: bool
    ) -> Commit:
        """Undo a commit on a branch by a new commit.

        Raises:
            Refusal: 400 dirty branch, bad parent or no changes, 409 conflict or a merge commit without parent number.
        """
        target = self._references.resolve(repository, ref).commit
        if len(target.parents) > 1 and parent_number <= 0:
            raise refusals.conflict("must specify 1-based parent number for reverting merge commit")
        plan = _Plan("revert", target, max(parent_number, 1), undo=True, allow_empty=allow_empty)
        return self._transplant(repository, branch, plan, new)

    def cherry_pick(
        self,
        repository: str,
        branch: str,
        ref: str,
        *,
        parent_number: int | None,
        committer: str,
        overrides: Overrides,
    ) -> Commit:
        """Repeat a commit's changes on a branch.

        Raises:
            Refusal: 400 dirty branch, bad parent or a merge commit without parent number, 409 conflict.
        """
        target = self._references.resolve(repository, ref).commit
        if parent_number is None and len(target.parents) > 1:
            raise refusals.bad_request("must specify 1-based parent number for cherry-picking merge commit")
        origin = {"cherry-pick-origin": target.id, "cherry-pick-committer": target.committer}
        metadata = {**(overrides.metadata or target.metadata), **origin}
        new = NewCommit(overrides.message or target.message, committer, metadata, self._core.now())
        number = 1 if parent_number is None else parent_number
        return self._transplant(repository, branch, _Plan("cherry-pick", target, number, undo=False), new)

    def _transplant(self, repository: str, branch: str, plan: _Plan, new: NewCommit) -> Commit:
        with self._core.lock(repository, branch), self._core.git.batch() as pending:
            repo, found = self._movable(repository, branch)
            head = self._clean_head(repository, found)
            parent_tree = self._parent_tree(repository, plan.target, plan.number)
            before, after = (plan.target.tree, parent_tree) if plan.undo else (parent_tree, plan.target.tree)
            result = three_way(self._core, self._objects, base=before, source=after, destination=head.tree)
            tree = result.tree(self._core, head.tree)
            if tree == head.tree and not plan.allow_empty:
                raise refusals.NoChanges("update branch: no changes")
            commit = build_commit(self._core, tree, [head], new)
            run = self._actions.fire(f"pre-{plan.kind}", _event(repo, branch, branch, new))
            self._advance(repository, found, commit, pending)
        self._actions.fire(f"post-{plan.kind}", _event(repo, branch, commit.id, new, commit_id=commit.id), run)
        return commit

    def _parent_tree(self, repository: str, target: Commit, number: int) -> bytes:
        if not target.parents and number == 1:
            return self._core.trees.empty()
        if not 1 <= number <= len(target.parents):
            raise refusals.bad_request(f"parent {number}: given commit does not have the given parent number")
        parent = find_commit(self._core.database.reader(), repository, target.parents[number - 1])
        if parent is None:
            raise refusals.not_found("commit not found")
        return parent.tree

    def hard_reset(self, repository: str, branch: str, ref: str) -> Commit:
        """Move a branch to any commit.

        Raises:
            Refusal: 404 missing, 403 protected, 400 with uncommitted changes.
        """
        with self._core.lock(repository, branch), self._core.git.batch() as pending:
            repo, found = self._movable(repository, branch)
            if repo.is_protected(branch):
                raise refusals.forbidden("protected branch", "ErrWriteToProtectedBranch")
            self._clean_head(repository, found)
            target = self._references.resolve(repository, ref).commit
            self._advance(repository, found, target, pending)
        return target

    # -- log -----------------------------------------------------------------------------------------------------

    def log(self, found: Resolved, *, first_parent: bool = False) -> Iterator[Commit]:
        """Yield commits from a reference backwards, newest first, children before parents."""
        if first_parent:
            yield from self._first_parents(found)
            return
        order = pygit2.enums.SortMode.TOPOLOGICAL | pygit2.enums.SortMode.TIME
        for git in self._core.git.repository.walk(pygit2.Oid(raw=found.commit.git), order):
            yield self._by_git(found.repository.name, git.id.raw)

    def _first_parents(self, found: Resolved) -> Iterator[Commit]:
        commit: Commit | None = found.commit
        while commit:
            yield commit
            reader = self._core.database.reader()
            commit = find_commit(reader, found.repository.name, commit.parents[0]) if commit.parents else None


def _event(
    repo: Repository, branch: str, source_ref: str, new: NewCommit, *, commit_id: str = "", merge_source: str = ""
) -> Event:
    return Event(repo.name, branch, source_ref, new.message, new.committer, new.metadata, commit_id, merge_source)
