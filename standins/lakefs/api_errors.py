"""The errors of the API and the gateway: one exception type, one constructor per kind of error.

The API sends the status and the message, the S3 gateway sends the code. Both follow the measured
behaviour of the real server (see `docs/reference/lakefs-standin.md`).

    Refusal
    ├── MergeConflict   both sides changed a path: change one side, or choose a strategy
    ├── DirtyBranch     commit or reset the uncommitted changes first
    ├── NoChanges       there is nothing to commit or merge
    └── HookFailed      a pre-event hook vetoed the operation
"""

from __future__ import annotations

from common.errors import TerminalError


class Refusal(TerminalError):
    """A request that the stand-in refuses.

    Args:
        status: HTTP status of the response.
        message: The `message` field of the API's error body.
        code: The S3 error code; the gateway may use another status for it.
        headers: Extra headers of the response (`Content-Range` for a range outside the object).
    """

    def __init__(self, status: int, message: str, code: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


class MergeConflict(Refusal):
    """Both sides changed a path differently; the API responds with an empty merge result."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__(409, "conflict found", "OperationAborted")
        self.paths = paths


class DirtyBranch(Refusal):
    """The branch has uncommitted changes, so it cannot be moved."""

    def __init__(self, message: str = "uncommitted changes (dirty branch)") -> None:
        super().__init__(400, message, "BadRequest")


class NoChanges(Refusal):
    """There is nothing to commit or merge."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message, "BadRequest")


class HookFailed(Refusal):
    """A pre-event hook failed and aborted the operation."""

    def __init__(self, event: str, run_id: str, reasons: list[str], status: int = 412) -> None:
        # The wording of Go's multierror package, which the real server uses.
        count = f"{len(reasons)} error{'s' if len(reasons) != 1 else ''} occurred:"
        listed = "".join(f"\n\t* {reason}" for reason in reasons)
        message = f"{event} hook aborted, run id '{run_id}': {count}{listed}\n\n"
        super().__init__(status, message, "PreconditionFailed" if status == 412 else "InternalError")


def bad_request(message: str, code: str = "BadRequest") -> Refusal:
    """Return a 400: the request is malformed or cannot be done in this state."""
    return Refusal(400, message, code)


def invalid(field: str, kind: str) -> Refusal:
    """Return a 400 for an invalid identifier, in the words of the real server."""
    return bad_request(f"argument {field}: {kind}: invalid value: validation error")


def unauthorized() -> Refusal:
    """Return the 401 of a wrong key or secret."""
    return Refusal(401, "error authenticating request", "AccessDenied")


def forbidden(message: str, code: str = "AccessDenied") -> Refusal:
    """Return a 403: the operation is not allowed on this branch or repository."""
    return Refusal(403, message, code)


def write_protected() -> Refusal:
    """Return the 403 of a write to a protected branch."""
    return forbidden("cannot write to protected branch", "ErrWriteToProtectedBranch")


def not_found(message: str, code: str = "NoSuchKey") -> Refusal:
    """Return a 404: it does not exist."""
    return Refusal(404, message, code)


def repository_missing() -> Refusal:
    """Return the 404 of a missing repository."""
    return not_found("repository not found", "NoSuchBucket")


def branch_missing(branch: str) -> Refusal:
    """Return the 404 of a missing branch."""
    return not_found(f"branch '{branch}' not found", "NoSuchBucket")


def object_missing() -> Refusal:
    """Return the 404 of a missing object."""
    return not_found("object not found", "NoSuchKey")


def expired() -> Refusal:
    """Return the 410 for an object that garbage collection removed, as the real server does."""
    return Refusal(410, "object expired", "NoSuchVersion")


def conflict(message: str) -> Refusal:
    """Return a 409: the name is taken, or the branch was moved by someone else."""
    return Refusal(409, message, "OperationAborted")


def precondition_failed(message: str = "path already exists") -> Refusal:
    """Return the 412 of a conditional read or write whose condition does not hold."""
    return Refusal(412, message, "PreconditionFailed")


def invalid_range(size: int) -> Refusal:
    """Return the 416 of a range that starts beyond the object; a header holds the real size."""
    return Refusal(416, "invalid range", "InvalidRange", {"Content-Range": f"bytes */{size}"})


def not_implemented(what: str) -> Refusal:
    """Return the 501 of a call that lakeFS supports and the stand-in does not."""
    return Refusal(501, f"not implemented by the lakeFS stand-in: {what}", "NotImplemented")
