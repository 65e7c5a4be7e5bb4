"""Every error Tickhouse raises on purpose, in one tree.

    TickhouseError
    ├── TerminalError                 retrying cannot help: fix the cause, then run again
    │   ├── ConfigurationError        change a setting or an argument
    │   ├── PrerequisiteMissing       install what the message names
    │   ├── SchemaIncompatible        change the schema so that every earlier version still fits
    │   ├── RejectedRecord            the input is wrong: it goes to a dead letter with `reason`
    │   ├── LeaseHeld                 another driver runs on this checkpoint
    │   ├── ReconcileFailed           the conservation law broke: read the table above the error
    │   ├── AuditMissing              audit the branch, then merge it
    │   ├── AuditFailed               a law broke: read the report, mend the cause, run again
    │   └── DriftFound                the worker does not run what the files say: apply them, or commit what runs
    └── TransientError                nothing is lost: the caller may retry with backoff
        ├── BranchOvertaken           prepare the branch again on the newer main, then audit it
        ├── ServiceNotReady           start the service or wait for it
        ├── ExchangeUnavailable       the exchange cut us off or limits us; honour `retry_after_s`
        └── StoreUnavailable          a store is down: its query stalls and catches up

Each message says what happened, what is safe, and the next command.
"""

from __future__ import annotations


class TickhouseError(Exception):
    """Base of every error in the tree above.

    Args:
        message: What happened, in one sentence.
        safe: What is not affected, in one sentence.
        next_command: The command that mends it, or tells more.
    """

    exit_code = 1

    def __init__(self, message: str, *, safe: str = "", next_command: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.safe = safe
        self.next_command = next_command

    def __str__(self) -> str:
        tail = f" Next: {self.next_command}" if self.next_command else ""
        safe = f" {self.safe}" if self.safe else ""
        return f"{self.message}{safe}{tail}"


class TerminalError(TickhouseError):
    """Retrying cannot help."""


class ConfigurationError(TerminalError):
    """A setting or an argument is wrong."""

    exit_code = 2


class PrerequisiteMissing(TerminalError):
    """A program or library that Tickhouse does not install itself is not there."""

    exit_code = 3


class SchemaIncompatible(TerminalError):
    """A schema does not read, or is not read by, an earlier version."""

    exit_code = 4


class RejectedRecord(TerminalError):
    """One input record is wrong.

    Args:
        reason: A stable slug, the error class by which dead letters are grouped.
        detail: What was expected and what was there ("Expected X, was Y").
    """

    exit_code = 5

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class LeaseHeld(TerminalError):
    """Another driver holds the lease of this checkpoint."""

    exit_code = 6


class ReconcileFailed(TerminalError):
    """A store does not hold what the exchange offered."""

    exit_code = 7


class AuditMissing(TerminalError):
    """What asks to become `main` is not what a passed audit has seen."""

    exit_code = 8


class AuditFailed(TerminalError):
    """A law of the audit does not hold."""

    exit_code = 9


class DriftFound(TerminalError):
    """What runs differs from the files."""

    exit_code = 10


class TransientError(TickhouseError):
    """The caller may retry with backoff; nothing is lost."""

    exit_code = 20


class ServiceNotReady(TransientError):
    """A service did not answer its readiness probe in time."""

    exit_code = 21


class ExchangeUnavailable(TransientError):
    """The exchange refused, limited or cut us.

    Args:
        message: What happened.
        retry_after_s: Seconds to wait before the next request, as the exchange said.
    """

    exit_code = 22

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message, safe="Gaps are filled once it answers again.")
        self.retry_after_s = retry_after_s


class StoreUnavailable(TransientError):
    """A store is down; its query stalls alone and catches up."""

    exit_code = 23


class BranchOvertaken(TransientError):
    """The lake's `main` moved while a branch was built."""

    exit_code = 24
