"""Repositories, branches, tags, and reference expressions such as `main~2` or `main@`."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from dataclasses import dataclass
from typing import Any

from standins.lakefs import api_errors
from standins.lakefs.git_store import COMMIT
from standins.lakefs.model import (
    COMMIT_COLUMNS,
    Branch,
    Commit,
    Core,
    Repository,
    ResolvedReference,
    find_branch,
    find_commit,
    find_repository,
)

REPOSITORY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{2,62}\Z")
BRANCH_NAME = re.compile(r"\w[-\w]*\Z", re.ASCII)
# The rules of git-check-ref-format that the real server applies to tags.
BAD_TAG = re.compile(r"@\Z|.*(\.|\.lock)\Z|.*(\.\.|/|@\{|[\^:?*\[\\]|[\x00-\x20])", re.DOTALL)
MODIFIER = re.compile(r"([~^@$])(\d*)")
HEX = re.compile(r"[0-9a-f]{1,64}\Z")


@dataclass(frozen=True)
class NewCommit:
    """The part of a commit that the caller decides; the rest follows from the branch."""

    message: str
    committer: str
    metadata: dict[str, str]
    created: int


def build_commit(core: Core, tree: bytes, parents: list[Commit], new: NewCommit) -> Commit:
    """Write a git commit object into this thread's batch and return its row.

    The commit id is the sha256 of the git object, whose text holds message and metadata.
    """
    text = json.dumps({"message": new.message, "metadata": new.metadata}, sort_keys=True, ensure_ascii=False)
    who = re.sub(r"[<>\n]", "", new.committer) or "unknown"
    stamp = f"{who} <{who}@stand-in> {new.created} +0000"
    lines = [f"tree {tree.hex()}", *(f"parent {parent.git.hex()}" for parent in parents)]
    data = "\n".join([*lines, f"author {stamp}", f"committer {stamp}", "", text]).encode()
    identity = hashlib.sha256(data).hexdigest()
    generation = 1 + max((parent.generation for parent in parents), default=0)
    ids = tuple(parent.id for parent in parents)
    git = core.git.write(COMMIT, data)
    return Commit(identity, git, tree, ids, generation, new.committer, new.message, new.created, dict(new.metadata))


def insert_commit(connection: sqlite3.Connection, repository: str, commit: Commit) -> None:
    """Record a commit; recording the same commit again changes nothing."""
    query = f"INSERT OR IGNORE INTO commits (repository, {COMMIT_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
    connection.execute(query, (repository, *commit.row()))


class References:
    """Repositories, branches, tags, and the expressions that name a commit."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # -- repositories ------------------------------------------------------------------------------

    def create_repository(self, repository: Repository, committer: str) -> Repository:
        """Create a repository with its first, empty commit on the default branch.

        Raises:
            Refusal: 400 for a bad name or a namespace in use, 409 when the name exists.
        """
        if not REPOSITORY_NAME.match(repository.name):
            raise api_errors.invalid("name", "repository id")
        if not repository.namespace:
            raise api_errors.bad_request("storage namespace: required value: validation error")
        require_branch_name(repository.default_branch, "default_branch")
        new = NewCommit("Repository created", committer, {}, repository.created)
        with self._core.collection_lock.shared(), self._core.git.batch() as pending:
            first = build_commit(self._core, self._core.trees.empty(), [], new)
            with self._core.database.write() as connection:
                self._insert_repository(connection, repository)
                self._core.git.flush(connection, pending)
                insert_commit(connection, repository.name, first)
                insert_branch(connection, repository.name, repository.default_branch, first.id)
        return repository

    @staticmethod
    def _insert_repository(connection: sqlite3.Connection, new: Repository) -> None:
        if find_repository(connection, new.name):
            raise api_errors.conflict("error creating repository: not unique")
        namespace = new.namespace.rstrip("/")
        taken = connection.execute("SELECT 1 FROM namespaces WHERE namespace = ?", (namespace,)).fetchone()
        if taken:
            raise api_errors.bad_request(
                f"failed to create repository: found lakeFS objects in the storage namespace({new.namespace}): "
                "storage namespace already in use"
            )
        connection.execute("INSERT INTO namespaces VALUES (?)", (namespace,))
        row = (new.name, new.namespace, new.default_branch, new.created, int(new.read_only))
        text = json.dumps(new.metadata), json.dumps(new.protection)
        connection.execute("INSERT INTO repositories VALUES (?,?,?,?,?,?,?)", (*row, *text))

    def repository(self, name: str) -> Repository:
        """Return a repository.

        Raises:
            Refusal: 404 when it does not exist.
        """
        found = find_repository(self._core.database.reader(), name)
        if not found:
            raise api_errors.repository_missing()
        return found

    def repositories(self) -> list[Repository]:
        """Return all repositories by name."""
        rows = self._core.database.reader().execute("SELECT * FROM repositories ORDER BY name").fetchall()
        return [Repository.of(row) for row in rows]

    def delete_repository(self, name: str) -> None:
        """Delete a repository with its refs, history and uploads.

        Its blocks stay, so its namespace stays taken.
        """
        self.repository(name)
        with self._core.database.write() as connection:
            connection.execute("DELETE FROM repositories WHERE name = ?", (name,))

    def set_repository_field(self, name: str, column: str, value: object) -> None:
        """Replace `metadata` or `protection` of a repository, from the next request on."""
        self.repository(name)
        statement = {
            "metadata": "UPDATE repositories SET metadata = ? WHERE name = ?",
            "protection": "UPDATE repositories SET protection = ? WHERE name = ?",
        }[column]
        with self._core.database.write() as connection:
            connection.execute(statement, (json.dumps(value), name))

    def gc_rules(self, name: str) -> dict[str, Any] | None:
        """Return the garbage collection rules of a repository; None when it has none.

        Raises:
            Refusal: 404 when the repository does not exist.
        """
        self.repository(name)
        query = "SELECT rules FROM gc_rules WHERE repository = ?"
        row = self._core.database.reader().execute(query, (name,)).fetchone()
        rules: dict[str, Any] | None = json.loads(row[0]) if row else None
        return rules

    def set_gc_rules(self, name: str, rules: dict[str, Any] | None) -> None:
        """Replace the garbage collection rules of a repository; None removes them.

        Raises:
            Refusal: 404 when the repository does not exist.
        """
        self.repository(name)
        with self._core.database.write() as connection:
            connection.execute("DELETE FROM gc_rules WHERE repository = ?", (name,))
            if rules is not None:
                connection.execute("INSERT INTO gc_rules VALUES (?, ?)", (name, json.dumps(rules)))

    # -- branches and tags -------------------------------------------------------------------------

    def create_branch(self, repository: Repository, name: str, source: str) -> Commit:
        """Create a branch at a reference's commit and return that commit.

        Raises:
            Refusal: 400 for a bad name, 404 when the source is missing, 409 when the branch exists.
        """
        require_branch_name(name, "branch")
        with self._core.collection_lock.shared():
            return self._create_branch(repository, name, source)

    def _create_branch(self, repository: Repository, name: str, source: str) -> Commit:
        try:
            target = self.resolve(repository.name, source).commit
        except api_errors.Refusal as error:
            if error.status != 404:
                raise
            raise api_errors.not_found(f"source reference '{source}': not found") from error
        self._core.trees.require(target.tree)
        with self._core.database.write() as connection:
            if find_branch(connection, repository.name, name):
                raise api_errors.conflict("branch already exists: not unique")
            if _tag_commit(connection, repository.name, name):
                raise api_errors.conflict(f"tag ID {name}: conflict found")
            insert_branch(connection, repository.name, name, target.id)
        return target

    def branch(self, repository: str, name: str) -> Branch:
        """Return a branch.

        Raises:
            Refusal: 404 when the repository or the branch does not exist.
        """
        self.repository(repository)
        found = find_branch(self._core.database.reader(), repository, name)
        if not found:
            raise api_errors.branch_missing(name)
        return found

    def branches(self, repository: str) -> list[tuple[str, str]]:
        """Return (name, commit id) of every branch, by name."""
        self.repository(repository)
        query = "SELECT name, head FROM branches WHERE repository = ? ORDER BY name"
        return self._core.database.reader().execute(query, (repository,)).fetchall()

    def delete_branch(self, repository: Repository, name: str) -> None:
        """Delete a branch and its uncommitted changes.

        Raises:
            Refusal: 404 when missing, 403 for the default branch. A protected branch may be
                deleted, as on the real server.
        """
        self.branch(repository.name, name)
        if name == repository.default_branch:
            raise api_errors.forbidden("cannot delete repository default branch")
        with self._core.lock(repository.name, name), self._core.database.write() as connection:
            connection.execute("DELETE FROM branches WHERE repository = ? AND name = ?", (repository.name, name))

    def create_tag(self, repository: Repository, name: str, ref: str) -> Commit:
        """Create a tag on a reference's commit and return that commit.

        Raises:
            Refusal: 400 for a bad name, 404 when the reference is missing, 409 when the tag exists.
        """
        if not name or BAD_TAG.match(name):
            raise api_errors.invalid("tag", "tag id")
        with self._core.collection_lock.shared():
            return self._create_tag(repository, name, ref)

    def _create_tag(self, repository: Repository, name: str, ref: str) -> Commit:
        target = self.resolve(repository.name, ref).commit
        self._core.trees.require(target.tree)
        with self._core.database.write() as connection:
            if _tag_commit(connection, repository.name, name):
                raise api_errors.conflict("tag already exists: not unique")
            if find_branch(connection, repository.name, name):
                raise api_errors.conflict(f"branch name {name}: conflict found")
            connection.execute("INSERT INTO tags VALUES (?, ?, ?)", (repository.name, name, target.id))
        return target

    def tag(self, repository: str, name: str) -> str:
        """Return the commit id of a tag.

        Raises:
            Refusal: 404 when it does not exist.
        """
        self.repository(repository)
        commit_id = _tag_commit(self._core.database.reader(), repository, name)
        if not commit_id:
            raise api_errors.not_found("tag not found")
        return commit_id

    def tags(self, repository: str) -> list[tuple[str, str]]:
        """Return (name, commit id) of every tag, by name."""
        self.repository(repository)
        query = "SELECT name, commit_id FROM tags WHERE repository = ? ORDER BY name"
        return self._core.database.reader().execute(query, (repository,)).fetchall()

    def delete_tag(self, repository: str, name: str) -> None:
        """Delete a tag."""
        self.tag(repository, name)
        with self._core.database.write() as connection:
            connection.execute("DELETE FROM tags WHERE repository = ? AND name = ?", (repository, name))

    # -- reference expressions ---------------------------------------------------------------------

    def resolve(self, repository: str, expression: str) -> ResolvedReference:
        """Resolve a branch, tag or commit id (or its prefix), followed by any `~N`, `^N`, `@`, `$`.

        Raises:
            Refusal: 404 when the repository or the reference does not exist.
        """
        with self._core.database.snapshot() as connection:
            found = find_repository(connection, repository)
            if not found:
                raise api_errors.repository_missing()
            base = re.split(r"[~^@$]", expression, maxsplit=1)[0]
            branch = find_branch(connection, repository, base)
            commit_id = branch.head if branch else _tag_commit(connection, repository, base)
            commit = find_commit(connection, repository, commit_id or _expand(connection, repository, base))
            if commit is None:
                raise api_errors.not_found(f"reference '{expression}' not found")
            return _modify(connection, ResolvedReference(found, commit, branch), expression[len(base) :])


def require_branch_name(name: str, argument: str) -> None:
    """Refuse a branch name that the real server refuses."""
    if not BRANCH_NAME.match(name):
        raise api_errors.invalid(argument, "branch id")


def insert_branch(connection: sqlite3.Connection, repository: str, name: str, head: str) -> None:
    """Record a branch."""
    query = "INSERT INTO branches (repository, name, head) VALUES (?, ?, ?)"
    connection.execute(query, (repository, name, head))


def _tag_commit(connection: sqlite3.Connection, repository: str, name: str) -> str | None:
    query = "SELECT commit_id FROM tags WHERE repository = ? AND name = ?"
    row = connection.execute(query, (repository, name)).fetchone()
    return row[0] if row else None


def _expand(connection: sqlite3.Connection, repository: str, start: str) -> str:
    """Return the only commit id that begins with `start`, or an id that cannot exist."""
    if not HEX.match(start):
        return ""
    query = "SELECT id FROM commits WHERE repository = ? AND id >= ? AND id < ? LIMIT 2"
    rows = connection.execute(query, (repository, start, start + "g")).fetchall()
    return rows[0][0] if len(rows) == 1 else ""


def _modify(connection: sqlite3.Connection, found: ResolvedReference, modifiers: str) -> ResolvedReference:
    commit, branch, committed_only = found.commit, found.branch, False
    for sign, digits in MODIFIER.findall(modifiers):
        if sign == "@":
            committed_only = True
        elif sign in "~^":
            branch = None
            for parent in _steps(sign, int(digits or 1)):
                commit = _parent(connection, found.repository.name, commit, parent)
    return ResolvedReference(found.repository, commit, branch, committed_only)


def _steps(sign: str, number: int) -> list[int]:
    """Return the parent numbers to follow: `~3` is three times 1, `^2` is once 2."""
    return [1] * number if sign == "~" else [number] * (number > 0)


def _parent(connection: sqlite3.Connection, repository: str, commit: Commit, number: int) -> Commit:
    parent = None
    if number <= len(commit.parents):
        parent = find_commit(connection, repository, commit.parents[number - 1])
    if parent is None:
        raise api_errors.not_found(f"parent {number} of commit {commit.id} not found")
    return parent
